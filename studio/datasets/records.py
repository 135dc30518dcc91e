"""The records of the dataset room."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypedDict

from studio.core.lineage import Mark


class SchemaKind(StrEnum):
    """What a dataset's rows are, and so what can be trained on them."""

    CORPUS = "corpus"  # {"text": str}
    INSTRUCTION = "instruction"  # {"messages": [Message, ...]}, the last one the assistant's
    PREFERENCE = "preference"  # {"prompt": [Message], "chosen": [Message], "rejected": [Message]}
    UNPAIRED = "unpaired"  # {"prompt": [Message], "completion": [Message], "label": bool}


class Split(StrEnum):
    """The two sides of a version; no prompt stands on both."""

    TRAIN = "train"
    VALIDATION = "validation"


class SourceFormat(StrEnum):
    """The shapes of input that can be converted."""

    ALPACA = "alpaca"
    SHAREGPT = "sharegpt"
    MESSAGES = "messages"
    PROMPT_COMPLETION = "prompt_completion"
    PREFERENCE = "preference"
    PREFERENCE_IMPLICIT = "preference_implicit"
    UNPAIRED = "unpaired"
    TEXT = "text"


class Message(TypedDict):
    """One turn of a conversation; ``role`` is system, user, assistant or tool."""

    role: str
    content: str


@dataclass(frozen=True)
class ColumnMap:
    """Which source column plays which part, where detection is unsure.

    Keys are the parts of a format (``instruction``, ``input``, ``output``, ``prompt``, ``completion``,
    ``chosen``, ``rejected``, ``messages``, ``text``, ``system``, ``label``); values are column names.
    """

    columns: dict[str, str]


@dataclass(frozen=True)
class Inspection:
    """What a file looks like before it is imported.

    ``format`` is None where nothing fits; ``sure`` is False where a person should look at the columns.
    """

    columns: tuple[str, ...]
    format: SourceFormat | None
    sure: bool
    mapping: ColumnMap
    sample: tuple[dict[str, Any], ...]
    note: str


@dataclass(frozen=True)
class ImportRequest:
    """How to make a dataset version of a file.

    ``dataset`` is the name of a new dataset or of one that gets another version. ``format`` and
    ``mapping`` None means: detect. ``own_copy`` says that the source is an upload made for this import
    alone: it goes when the import's job is settled.
    """

    source: Path
    dataset: str
    format: SourceFormat | None = None
    mapping: ColumnMap | None = None
    validation_fraction: float = 0.1
    seed: int = 0
    licence: str = ""
    description: str = ""
    own_copy: bool = False


@dataclass(frozen=True)
class RejectedRow:
    """A row that was set aside: its 1-based number in the source, the field, and why."""

    row: int
    field: str
    why: str


@dataclass(frozen=True)
class ImportReport:
    """What became of a file; ``rejects_path`` holds every rejected row with its reason as JSONL.

    ``rejected`` holds the first of them for display, ``rejected_rows`` counts all. ``protected_rows``
    counts the rows for training whose prompt is used for evaluation or as gold.
    """

    format: SourceFormat
    accepted_rows: int
    rejected_rows: int
    rejected: tuple[RejectedRow, ...]
    rejects_path: Path | None
    protected_rows: int = 0


@dataclass(frozen=True)
class DatasetVersion:
    """An immutable set of rows: content digest, kind, counts, Parquet files, and how it was made.

    ``marks`` are remarks on what it was made of; they may be added later.
    """

    id: str
    dataset_id: str
    name: str
    number: int
    kind: SchemaKind
    digest: str
    rows: dict[Split, int]
    directory: Path
    parents: tuple[str, ...]
    steps: tuple[dict[str, Any], ...]
    licence: str
    created_at: float
    created_by: str
    marks: tuple[Mark, ...] = ()

    @property
    def reference(self) -> str:
        """How people and recipes call it: ``name@number``."""
        return f"{self.name}@{self.number}"

    @property
    def total_rows(self) -> int:
        """Rows of all splits."""
        return sum(self.rows.values())

    def file(self, split: Split) -> Path:
        """The Parquet file of a split; it exists even where the split has no rows."""
        return self.directory / f"{split.value}.parquet"


@dataclass(frozen=True)
class DatasetSummary:
    """A dataset with its newest version and how many it has."""

    id: str
    name: str
    description: str
    latest: DatasetVersion
    versions: int


@dataclass(frozen=True)
class ImportResult:
    """The version that an import made, and its report."""

    version: DatasetVersion
    report: ImportReport


@dataclass(frozen=True)
class Page:
    """Some rows of a version in canonical form; ``first`` is the 0-based place of the first of them.

    ``total`` counts the rows that the search matches.
    """

    rows: tuple[dict[str, Any], ...]
    first: int
    total: int


class Outcome(StrEnum):
    """How two answers compare."""

    A = "a"
    B = "b"
    TIE = "tie"
    BOTH_BAD = "both_bad"
    SKIP = "skip"


@dataclass(frozen=True)
class Candidate:
    """One answer that was judged; ``generation_id`` is None where it came from a dataset row."""

    messages: tuple[Message, ...]
    generation_id: str | None = None
    finish_reason: str = "stop"
    error: str = ""


@dataclass(frozen=True)
class Judgement:
    """One person's (or script's) verdict on two answers to one prompt, as arena and annotation make them.

    ``kind`` and ``id`` name the vote or label it is (for lineage). ``blind`` is False where the names
    of the models were known before the verdict. ``better_answer`` is empty where none was written.
    """

    kind: str
    id: str
    prompt: tuple[Message, ...]
    a: Candidate
    b: Candidate
    outcome: Outcome
    voter: str
    voted_at: float
    blind: bool
    better_answer: str = ""


@dataclass(frozen=True)
class Opinion:
    """A thumb on a single answer: what ``unpaired`` rows are made of."""

    kind: str
    id: str
    prompt: tuple[Message, ...]
    answer: Candidate
    positive: bool
    voter: str
    at: float


@dataclass(frozen=True)
class PreferenceSettings:
    """The rules of a preference build; ``digest`` of these goes into every row.

    ``minimum_agreement`` is the share of deciding votes that the winner of a pair needs.
    ``use_better_answers`` makes a pair (better answer over the losing or both-bad answers).
    """

    validation_fraction: float = 0.1
    seed: int = 0
    minimum_agreement: float = 0.5
    use_better_answers: bool = True


@dataclass(frozen=True)
class LeftOut:
    """Why judgements did not become pairs, and how many."""

    why: str
    count: int


@dataclass(frozen=True)
class PreferenceReport:
    """What a build looked at, what it made, and what it left out.

    ``pairs`` counts all pairs of the version, ``joined_pairs`` those of them that came with a joined
    version rather than from a verdict.
    """

    judgements: int
    pairs: int
    unpaired: int
    left_out: tuple[LeftOut, ...]
    joined_pairs: int = 0


@dataclass(frozen=True)
class PreferenceResult:
    """The preference version, the unpaired version where ties and thumbs made one, and the report."""

    version: DatasetVersion
    unpaired: DatasetVersion | None
    report: PreferenceReport


@dataclass(frozen=True)
class NewVersion:
    """Rows in canonical form for a version that the studio itself makes."""

    dataset: str
    kind: SchemaKind
    rows: dict[Split, list[dict[str, Any]]]
    steps: tuple[dict[str, Any], ...]
    parents: tuple[str, ...] = ()
    licence: str = ""
    description: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
