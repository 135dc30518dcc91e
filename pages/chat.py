"""Chat: ask two models the same thing side by side, blind unless you say otherwise, and vote.

The address may choose the line-up: ``a`` and ``b`` name models, ``deployment`` one whose variants are
compared, ``blind`` (1 or 0) the mode. What happens in a turn stands in ``pages.chat_talk``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.chat_layout import Panel, draw, updates
from pages.chat_lineup import BLIND, VARIANTS, arrive, arrive_arena, draw_pickers, pick_source
from pages.chat_records import Lineup, Screen, Stage, Talk
from pages.chat_talk import converse, judge, stop, thumb
from pages.chat_words import room
from pages.components.markup import address, button, empty, note, page_head
from pages.components.visible import HIDDEN
from pages.components.visits import block, page_visit
from pages.components.wiring import listen
from studio.core import InvalidInput
from studio.datasets import Outcome
from studio.serving import Sampling
from studio.studio import Studio

TITLE = "Chat"

#: What waits for a model server shares these places.
ENGINE: dict[str, Any] = {"concurrency_id": "engine", "concurrency_limit": 4}


def send(
    studio: Studio,
    *,
    talk: Talk,
    text: str,
    mode: str,
    source: str,
    first: str | None,
    second: str | None,
    deployment: str | None,
    temperature: float,
    top_p: float,
    max_tokens: float,
    repetition: float,
    seed: str,
) -> Iterator[tuple[Any, ...]]:
    """Ask both sides; yields what changes on the page."""
    sampling = Sampling(
        temperature=temperature,
        top_p=top_p,
        max_tokens=int(max_tokens),
        repetition_penalty=repetition,
        seed=_seed(seed),
    )
    by_variants = source == VARIANTS
    lineup = Lineup(
        mode == BLIND, first or "", second or "", (deployment or "") if by_variants else "", sampling
    )
    before: Screen | None = None
    for screen in converse(studio, talk, text, lineup):
        # The first and the last screen are sent whole, whatever a slow browser missed between them.
        yield updates(screen, before if screen.stage is Stage.WRITING else None)
        before = screen


def _seed(text: str) -> int | None:
    if not text.strip():
        return None
    if not (
        text.strip().isascii() and text.strip().isdecimal() and len(text.strip()) < 11 and int(text) < 2**31
    ):
        raise InvalidInput(
            f"The seed {text.strip()[:40]!r} is no whole number from 0 to 2147483647.", "Empty it."
        )
    return int(text)


def end_turn(_studio: Studio, *, talk: Talk) -> Any:
    """Ask the turn that is under way to end."""
    return gr.update(interactive=not stop(talk))


def vote(studio: Studio, *, talk: Talk, outcome: str, comment: str, better: str) -> tuple[Any, ...]:
    """Store the verdict and tell who was who; empties the comment and the better answer."""
    return (*updates(judge(studio, talk, Outcome(outcome), comment, better)), "", "")


def put_thumb(studio: Studio, *, talk: Talk, side: str, up: bool) -> tuple[Any, ...]:
    """Put a thumb on an answer or take it back: the state, and the two buttons of the side."""
    now = thumb(studio, talk, side, up)
    buttons = (
        gr.update(variant="primary" if now.thumb(side) is one else "secondary") for one in (True, False)
    )
    return (now, *buttons)


def anew(_studio: Studio) -> tuple[Any, ...]:
    """An empty page for a new conversation."""
    return updates(Screen())


def changed(_studio: Studio, *, talk: Talk) -> tuple[Any, ...]:
    """A line-up is fixed for a conversation, so another one begins a new conversation."""
    if not talk.conversation:
        return tuple(gr.skip() for _ in updates(Screen()))
    said = note("The line-up changed: your next message begins a new conversation.")
    return updates(Screen(stage=Stage.READY, status=said))


def render(studio: Studio) -> None:
    """Draw the page."""
    purpose = "Ask two models the same thing and say which answer is better. Votes become training data."
    block(page_head(TITLE, purpose))
    advice = "Register a base model, or wait until the embedded one is unpacked."
    missing = empty("There is no model to talk to yet.", advice, button("Go to Models", address("models")))
    _draw(studio, missing, plain=False)


def render_arena(studio: Studio) -> None:
    """Draw the page for people who judge answers and need not know how models are made."""
    purpose = "Ask something, read two answers, and say which is better. Your vote tells who wrote which."
    block(page_head("Arena", purpose))
    advice = "A researcher of this studio puts up what is compared. Come back when they say so."
    _draw(studio, empty("There is nothing to compare yet.", advice), plain=True)


def _draw(studio: Studio, nothing: Markup, *, plain: bool) -> None:
    with gr.Column(visible=HIDDEN) as missing:
        block(nothing)
    rests = block()
    with gr.Column(visible=HIDDEN) as page:
        pickers, sampling = draw_pickers(plain=plain)
        mode, source, first, second, deployment = pickers
        panel = draw(pickers)
    applied = gr.State("")
    visit = page_visit("chat")
    listen(
        visit.visit,
        arrive_arena if plain else arrive,
        studio,
        api_name="chat",
        inputs={"first": first, "second": second, "applied": applied},
        outputs=[missing, page, *pickers, applied],
        quiet=True,
    )
    listen(visit.visit, room, studio, api_name="chat_room", outputs=[rests], quiet=True)
    lineup = {"mode": mode, "source": source, "first": first, "second": second, "deployment": deployment}
    _wire_line_up(studio, panel, [mode, first, second, deployment, *sampling.values()], source)
    _wire_turns(studio, panel, lineup | sampling)
    _wire_verdicts(studio, panel)


def _wire_line_up(studio: Studio, panel: Panel, parts: Sequence[Any], source: Any) -> None:
    shown = [*panel.pickers[2:]]
    listen(
        source.change,
        pick_source,
        studio,
        api_name="chat_source",
        inputs={"source": source},
        outputs=shown,
        quiet=True,
    )
    for number, part in enumerate((*parts, source)):
        event = part.release if isinstance(part, gr.Slider) else part.input
        inputs = {"talk": panel.talk}
        listen(
            event,
            changed,
            studio,
            api_name=f"chat_lineup_{number}",
            inputs=inputs,
            outputs=panel.outputs,
            quiet=True,
        )


def _wire_turns(studio: Studio, panel: Panel, lineup: dict[str, Any]) -> None:
    inputs = {"talk": panel.talk, "text": panel.box} | lineup
    for event, name in ((panel.send.click, "chat_send"), (panel.box.submit, "chat_enter")):
        listen(event, send, studio, api_name=name, inputs=inputs, outputs=panel.outputs, quiet=True, **ENGINE)
    talk = {"talk": panel.talk}
    listen(
        panel.stop.click,
        end_turn,
        studio,
        api_name="chat_stop",
        inputs=talk,
        outputs=[panel.stop],
        quiet=True,
    )
    listen(panel.again.click, anew, studio, api_name="chat_anew", outputs=panel.outputs, quiet=True)


def _wire_verdicts(studio: Studio, panel: Panel) -> None:
    judged = [*panel.outputs, panel.comment, panel.better]
    for outcome, pressed in (panel.votes | {Outcome.SKIP: panel.skip}).items():
        inputs = {
            "talk": panel.talk,
            "outcome": gr.State(outcome.value),
            "comment": panel.comment,
            "better": panel.better,
        }
        listen(
            pressed.click,
            vote,
            studio,
            api_name=f"chat_vote_{outcome.value}",
            inputs=inputs,
            outputs=judged,
            quiet=True,
        )
    for side, pane in panel.sides.items():
        for up, pressed in ((True, pane.up), (False, pane.down)):
            inputs = {"talk": panel.talk, "side": gr.State(side), "up": gr.State(up)}
            name = f"chat_thumb_{side}_{'up' if up else 'down'}"
            outputs = [panel.talk, pane.up, pane.down]
            listen(
                pressed.click, put_thumb, studio, api_name=name, inputs=inputs, outputs=outputs, quiet=True
            )
