"""What the chat page remembers and shows: records without behaviour.

``Talk`` is the only state that Gradio keeps; it holds ids, never a name or a side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from markupsafe import Markup

from pages.chat_words import NOTHING, SideView
from studio.serving import Sampling


class Stage(StrEnum):
    """Where a conversation stands."""

    READY = "ready"
    WRITING = "writing"
    VERDICT = "verdict"  # both have answered and nobody has judged
    JUDGED = "judged"


@dataclass(frozen=True)
class Talk:
    """What the page remembers: ids, when the answers were there, and this person's thumbs."""

    conversation: str = ""
    battle: str = ""
    nonce: str = ""
    shown_at: float | None = None
    thumbs: tuple[tuple[str, bool], ...] = ()

    def thumb(self, side: str) -> bool | None:
        """The thumb on a side, None where there is none."""
        return dict(self.thumbs).get(side)


@dataclass(frozen=True)
class Lineup:
    """What the pickers say; a deployment stands for two of its variants."""

    blind: bool
    first: str
    second: str
    deployment: str
    sampling: Sampling


@dataclass(frozen=True)
class Screen:
    """Everything the page shows; ``message`` is what stands in the box to write in."""

    talk: Talk = Talk()
    stage: Stage = Stage.READY
    blind: bool = True
    history: Markup = NOTHING
    status: Markup = NOTHING
    message: str = ""
    sides: dict[str, SideView] = field(default_factory=lambda: {"a": SideView(), "b": SideView()})
