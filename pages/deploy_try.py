"""Try a deployment as a user of it: a message, the answer, which variant gave it, and a thumb."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.answers import readable
from pages.components.markup import chip, copyable, error_note, tag
from pages.components.visible import HIDDEN, when
from pages.components.visits import block
from pages.components.wiring import listen
from pages.components.wording import count
from studio.arena import NewThumb
from studio.core import InvalidInput, StudioError, new_id
from studio.serving import ChatMessage, Prediction
from studio.studio import Studio


@dataclass(frozen=True)
class Tried:
    """The answer that thumbs are about, and the thumb it has."""

    generation: str = ""
    up: bool | None = None


def ask(studio: Studio, *, deployment: str, user: str, text: str) -> Iterator[tuple[Any, ...]]:
    """Ask the deployment as ``user``; says first that it is at work, then shows the answer."""
    yield (
        chip("Answering; the first answer also loads the model", "td-busy"),
        "",
        Tried(),
        *_thumbs(Tried(), ready=False),
    )
    try:
        if not text.strip():
            raise InvalidInput("The message is empty.", "Write something to answer.")
        message = ChatMessage(role="user", content=text)
        made = studio.serving.predict(studio.actor, deployment, user.strip() or "anonymous", (message,))
    except (StudioError, ValueError) as error:
        told = (
            error
            if isinstance(error, StudioError)
            else InvalidInput("The message is too long.", "Shorten it.")
        )
        yield (error_note(told), "", Tried(), *_thumbs(Tried(), ready=False))
        return
    tried = Tried(made.generation.id)
    yield (told_by(made), readable(made.generation.text), tried, *_thumbs(tried, ready=True))


def told_by(made: Prediction) -> Markup:
    """Which variant answered, how long it took, and the id that feedback refers to."""
    answer = made.generation
    cut = " It was cut off at the token limit." if answer.finish_reason == "length" else ""
    return Markup('<p class="td-sub">{} answered in {:.1f} s with {}.{} {}</p>').format(
        tag(made.variant), answer.seconds, count(answer.completion_tokens, "token"), cut, copyable(answer.id)
    )


def put_thumb(studio: Studio, *, tried: Tried, up: bool) -> tuple[Any, ...]:
    """Put a thumb on the answer, or take the same one back."""
    wanted = None if tried.up is up else up
    studio.arena.thumb(studio.actor, NewThumb(tried.generation, wanted, new_id("nonce")))
    now = Tried(tried.generation, wanted)
    return (now, *_thumbs(now, ready=True))


def _thumbs(tried: Tried, *, ready: bool) -> tuple[Any, ...]:
    return tuple(
        gr.update(variant="primary" if tried.up is up else "secondary", visible=when(ready))
        for up in (True, False)
    )


def render(studio: Studio, deployment: Any) -> None:
    """Draw the box; ``deployment`` holds the name of the deployment to ask."""
    block('<h3 class="td-title">Try it</h3>')
    with gr.Row(elem_classes="td-ask td-form"):
        user = gr.Textbox("someone", label="User", info="Keeps their variant.", min_width=140, scale=1)
        text = gr.Textbox(
            "", label="Message", placeholder="Ask something", min_width=220, scale=4, max_lines=6
        )
        go = gr.Button("Ask", variant="primary", size="lg", min_width=100, scale=0)
    about = block()
    answer = gr.Markdown("", elem_classes="td-answer", line_breaks=True, latex_delimiters=[])
    tried = gr.State(Tried())
    with gr.Row(elem_classes="td-thumbs"):
        up = gr.Button("Helpful", size="sm", visible=HIDDEN)
        down = gr.Button("Not helpful", size="sm", visible=HIDDEN)
    inputs = {"deployment": deployment, "user": user, "text": text}
    outputs = [about, answer, tried, up, down]
    engine: dict[str, Any] = {"concurrency_id": "engine", "concurrency_limit": 4, "quiet": True}
    for event, name in ((go.click, "try_deployment"), (text.submit, "try_deployment_enter")):
        listen(event, ask, studio, api_name=name, inputs=inputs, outputs=outputs, **engine)
    for value, pressed in ((True, up), (False, down)):
        given = {"tried": tried, "up": gr.State(value)}
        name = f"try_thumb_{'up' if value else 'down'}"
        listen(
            pressed.click,
            put_thumb,
            studio,
            api_name=name,
            inputs=given,
            outputs=[tried, up, down],
            quiet=True,
        )
