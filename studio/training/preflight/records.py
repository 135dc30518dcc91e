"""The records of a pre-flight."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from studio.datasets import Split
from studio.jobs import Progress
from studio.training.records import Stage


class Severity(StrEnum):
    """How much a finding matters: with an error nothing is started, a warning is worth a look."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class PreflightState(StrEnum):
    """Whether the rows have been looked at; findings that need no rows are there from the start."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """One thing that a person should know before the run starts.

    ``field`` is the recipe's dotted path that it is about, or empty. ``rows`` are the first few it is true
    of (numbers from 1, at most ten), on the side ``split`` of the dataset ``source``.
    """

    severity: Severity
    field: str
    message: str
    todo: str
    rows: tuple[int, ...] = ()
    split: Split | None = None
    source: str = ""


@dataclass(frozen=True)
class Histogram:
    """How long rows are: ``counts[i]`` rows have ``edges[i]`` up to ``edges[i + 1] - 1`` tokens.

    Lengths are those of whole rows, before anything is cut; the longest sequence where a row makes two.
    """

    edges: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    shortest: int = 0
    median: int = 0
    longest: int = 0


@dataclass(frozen=True)
class SplitFacts:
    """What one side of a dataset comes to with a recipe.

    ``sequences`` counts what the trainer gets (before packing), ``tokens`` all their tokens and
    ``learnt_tokens`` those that the loss counts. ``truncated`` rows are longer than ``max_length`` and are
    cut (into pieces for CPT); ``left_out`` rows give nothing, ``nothing_to_learn`` of them because no
    learnt token is left. ``broken`` rows cannot be rendered. ``duplicates`` repeat a prompt of this side.
    """

    rows: int
    sequences: int
    tokens: int
    learnt_tokens: int
    truncated: int
    left_out: int
    nothing_to_learn: int
    broken: int
    duplicates: int
    lengths: Histogram
    good: int = 0


@dataclass(frozen=True)
class SourceFacts:
    """One dataset of the recipe: what people call it, and its two sides."""

    reference: str
    version_id: str
    splits: dict[Split, SplitFacts]


@dataclass(frozen=True)
class Preflight:
    """What is known of a recipe before it runs.

    ``findings`` are sorted by severity; those about rows come once ``state`` is DONE. ``sources`` are the
    datasets, the main one first. ``steps`` is how many the run will take and ``padding`` the share of
    computed positions that hold no token; None while it is not known. ``reason`` says why it failed.
    """

    id: str
    state: PreflightState
    stage: Stage
    recipe: str
    findings: tuple[Finding, ...] = ()
    sources: tuple[SourceFacts, ...] = ()
    steps: int | None = None
    padding: float | None = None
    progress: Progress | None = None
    reason: str = ""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings with which the run must not start."""
        return tuple(found for found in self.findings if found.severity is Severity.ERROR)

    @property
    def lengths(self) -> dict[Split, Histogram]:
        """How long the rows of the main dataset are."""
        return {split: facts.lengths for split, facts in self._main.items()}

    @property
    def truncated(self) -> int:
        """Training rows of every source that are cut."""
        return sum(facts.truncated for facts in self._train)

    @property
    def left_out(self) -> int:
        """Training rows of every source that give the trainer nothing."""
        return sum(facts.left_out for facts in self._train)

    @property
    def tokens(self) -> int:
        """Tokens of every source's training rows, each row once."""
        return sum(facts.tokens for facts in self._train)

    @property
    def learnt_tokens(self) -> int:
        """Those of ``tokens`` that the loss counts."""
        return sum(facts.learnt_tokens for facts in self._train)

    @property
    def duplicates(self) -> int:
        """Training rows whose prompt an earlier row of the same source has."""
        return sum(facts.duplicates for facts in self._train)

    @property
    def _main(self) -> dict[Split, SplitFacts]:
        return self.sources[0].splits if self.sources else {}

    @property
    def _train(self) -> list[SplitFacts]:
        return [source.splits[Split.TRAIN] for source in self.sources]


class TokenKind(StrEnum):
    """What becomes of a token: learnt, only read, or cut off and never seen."""

    LEARNT = "learnt"
    READ = "read"
    CUT = "cut"


@dataclass(frozen=True)
class Token:
    """One token: its text as a person reads it, its id, and what becomes of it.

    ``special`` tokens are the model's own marks. ``new_piece`` opens the next sequence of a long text.
    """

    text: str
    id: int
    kind: TokenKind
    special: bool = False
    new_piece: bool = False


@dataclass(frozen=True)
class TokenPart:
    """A stretch of a row under one name: text, conversation, prompt, chosen, rejected or completion.

    ``more`` tokens follow that are not shown.
    """

    name: str
    tokens: tuple[Token, ...]
    more: int = 0


@dataclass(frozen=True)
class TokenSequence:
    """One row as the trainer gets it; ``number`` counts from 1 within its side.

    ``left_out`` says why the trainer gets nothing of it; empty where it does. ``padding`` is how many
    positions are filled up where it stands in a batch with a row of ``max_length``.
    """

    number: int
    length: int
    learnt: int
    cut: int
    padding: int
    left_out: str
    parts: tuple[TokenPart, ...]
    label: bool | None = None


@dataclass(frozen=True)
class TokenPage:
    """Some rows in tokens; ``first`` is the 0-based place of the first of them among ``total`` matches."""

    rows: tuple[TokenSequence, ...]
    first: int
    total: int
    split: Split
    source: str
    sources: tuple[str, ...] = field(default=())
