"""Pre-flight: what would go wrong with a run, and what exactly it would learn, before anything is trained.

A light job tokenises the rows once, with the trainer's own functions, into token files that the trainer
reads again: what is shown is what is trained. The service draws findings from them, and looks at the
disk, the memory and the machine afresh each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from studio.training.preflight.records import (
    Finding,
    Histogram,
    Preflight,
    PreflightState,
    Severity,
    SourceFacts,
    SplitFacts,
    Token,
    TokenKind,
    TokenPage,
    TokenPart,
    TokenSequence,
)

if TYPE_CHECKING:
    from studio.training.preflight.service import PreflightService

__all__ = [
    "Finding",
    "Histogram",
    "Preflight",
    "PreflightService",
    "PreflightState",
    "Severity",
    "SourceFacts",
    "SplitFacts",
    "Token",
    "TokenKind",
    "TokenPage",
    "TokenPart",
    "TokenSequence",
]


def __getattr__(name: str) -> Any:
    # The trainer reads token files through this package; the database is for the web process only.
    if name == "PreflightService":
        from studio.training.preflight.service import PreflightService

        return PreflightService
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
