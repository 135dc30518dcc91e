"""The components of the chat page, and how a ``Screen`` becomes their updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.chat_records import Screen, Stage, Talk
from pages.components.answers import readable
from pages.components.visible import HIDDEN, when
from pages.components.visits import block
from studio.datasets import Outcome

_VOTES = (
    (Outcome.A, "A is better", "td-vote-a"),
    (Outcome.TIE, "Tie", "td-vote-tie"),
    (Outcome.BOTH_BAD, "Both bad", "td-vote-bad"),
    (Outcome.B, "B is better", "td-vote-b"),
)
_ASK = "Ask both something"
_PLACEHOLDERS = {
    Stage.READY: _ASK,
    Stage.WRITING: "Both are answering",
    Stage.VERDICT: "Go on",
    Stage.JUDGED: "Go on",
}


@dataclass(frozen=True)
class Pane:
    """One side: who, what they say, what is under it, and the two thumbs."""

    head: Any
    answer: Any
    foot: Any
    up: Any
    down: Any

    @property
    def parts(self) -> list[Any]:
        """In the order of ``_pane_updates``."""
        return [self.head, self.answer, self.foot, self.up, self.down]


@dataclass(frozen=True)
class Panel:
    """Everything that a screen fills."""

    talk: Any
    history: Any
    status: Any
    panes: Any
    sides: dict[str, Pane]
    votes: dict[Outcome, Any]
    skip: Any
    more: Any
    comment: Any
    better: Any
    box: Any
    send: Any
    stop: Any
    again: Any
    pickers: list[Any]

    @property
    def outputs(self) -> list[Any]:
        """In the order of ``updates``."""
        return [
            self.talk,
            self.history,
            self.status,
            self.panes,
            *self.sides["a"].parts,
            *self.sides["b"].parts,
            *self.votes.values(),
            self.skip,
            self.more,
            self.box,
            self.send,
            self.stop,
            self.again,
            *self.pickers,
        ]


#: How many pickers a panel has; they rest while answers are written.
PICKERS = 5


def updates(screen: Screen, before: Screen | None = None) -> tuple[Any, ...]:
    """What changes on the page from ``before`` to ``screen``; everything where there is no before."""
    now = _whole(screen)
    if before is None:
        return now
    pairs = zip(now, _whole(before), strict=True)
    return tuple(gr.skip() if new == old else new for new, old in pairs)


def _whole(screen: Screen) -> tuple[Any, ...]:
    stage = screen.stage
    writing = stage is Stage.WRITING
    # In a blind conversation the next turn goes on from the answer that won, so a verdict comes first.
    waiting = stage is Stage.VERDICT and screen.blind
    to_judge = gr.update(interactive=stage is Stage.VERDICT)
    placeholder = "Vote first" if waiting else _PLACEHOLDERS[stage]
    return (
        screen.talk,
        screen.history,
        screen.status,
        gr.update(visible=when(stage is not Stage.READY)),
        *_pane(screen, "a"),
        *_pane(screen, "b"),
        *[to_judge] * len(_VOTES),
        gr.update(visible=when(waiting)),
        gr.update(visible=when(stage is Stage.VERDICT)),
        gr.update(value=screen.message, interactive=not (writing or waiting), placeholder=placeholder),
        gr.update(visible=when(not writing), interactive=not waiting),
        gr.update(visible=when(writing), interactive=True),
        gr.update(visible=when(bool(screen.talk.conversation) and not writing)),
        *[gr.update(interactive=not writing)] * PICKERS,
    )


def _pane(screen: Screen, name: str) -> tuple[Any, ...]:
    side = screen.sides[name]
    thumb = screen.talk.thumb(name)
    ready = screen.stage in (Stage.VERDICT, Stage.JUDGED)
    return (
        _head(name, side.head),
        readable(side.text),
        side.foot,
        *(
            gr.update(variant="primary" if thumb is up else "secondary", interactive=ready)
            for up in (True, False)
        ),
    )


def _head(name: str, who: Any) -> Any:
    return Markup('<div class="td-pane-head"><strong>{}</strong><span>{}</span></div>').format(
        name.upper(), who
    )


def draw(pickers: list[Any]) -> Panel:
    """Draw history, panes, vote bar and the box to write in."""
    history = block(elem_id="chat-history")
    with gr.Column(visible=HIDDEN) as panes:
        with gr.Row(elem_classes="td-panes"):
            sides = {name: _draw_pane(name) for name in ("a", "b")}
        with gr.Row(elem_classes="td-votebar"):
            votes = {o: gr.Button(label, elem_classes=kind, interactive=False) for o, label, kind in _VOTES}
    status = block()
    with (
        gr.Column(visible=HIDDEN, elem_classes="td-form") as more,
        gr.Accordion("Add a comment or a better answer", open=False),
    ):
        comment = gr.Textbox("", label="Comment", lines=2, info="Stored with the vote.")
        better = gr.Textbox(
            "",
            label="A better answer",
            lines=4,
            info="In a blind comparison it becomes the preferred answer over each one that you judged worse.",
        )
    with gr.Row(elem_classes="td-ask td-form"):
        box = gr.Textbox(
            "", label="Message", placeholder=_ASK, lines=1, max_lines=10, scale=6, elem_id="chat-box"
        )
        send = gr.Button("Send", variant="primary", scale=0, min_width=110, size="lg")
        stop = gr.Button("Stop", variant="stop", scale=0, min_width=110, size="lg", visible=HIDDEN)
    with gr.Row(elem_classes="td-actions"):
        skip = gr.Button("Skip the vote and tell who is who", size="md", visible=HIDDEN)
        again = gr.Button("New conversation", size="md", visible=HIDDEN)
    return Panel(
        gr.State(Talk()),
        history,
        status,
        panes,
        sides,
        votes,
        skip,
        more,
        comment,
        better,
        box,
        send,
        stop,
        again,
        pickers,
    )


def _draw_pane(name: str) -> Pane:
    with gr.Column(elem_classes=f"td-pane td-side-{name}", min_width=280):
        head = block(_head(name, ""))
        answer = gr.Markdown(
            "", elem_classes="td-answer", line_breaks=True, buttons=["copy"], latex_delimiters=[]
        )
        foot = block(elem_classes="td-pane-foot")
        with gr.Row(elem_classes="td-thumbs"):
            up = gr.Button("Helpful", size="sm", interactive=False)
            down = gr.Button("Not helpful", size="sm", interactive=False)
    return Pane(head, answer, foot, up, down)
