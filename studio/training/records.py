"""The records of the training room."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from studio.core import Mark
from studio.jobs import JobState, Progress


class Stage(StrEnum):
    """What a run teaches.

    Text as it stands, answers to instructions, which of two answers is better, whether one answer is any
    good, or to score answers as people would.
    """

    CPT = "cpt"
    SFT = "sft"
    DPO = "dpo"
    KTO = "kto"
    REWARD = "reward"


@dataclass(frozen=True)
class StartRun:
    """A run to start. ``recipe`` is the YAML text of one recipe; ``request_id`` makes a retry harmless.

    ``after`` names runs that must have succeeded first, or with ``continue_on_error`` only ended. A higher
    ``priority`` goes first. ``devices`` are exact GPUs; empty takes as many as the recipe's processes.
    """

    stage: Stage
    recipe: str
    name: str = ""
    request_id: str = ""
    priority: int = 0
    after: tuple[str, ...] = ()
    continue_on_error: bool = False
    devices: tuple[int, ...] = ()


@dataclass(frozen=True)
class Run:
    """One training run: what it was asked to do, where it stands, and what it made.

    ``recipe`` is the whole recipe as YAML with every default written out. ``summary`` holds the last
    value of each metric, and for evaluations also the first (``eval/loss/first``). ``output_version_id``
    is set once the weights are registered, and only then is the state SUCCEEDED. ``marks`` are remarks on
    what it learnt from. A ``paused`` run is a stopped one that somebody means to take up again.
    ``retry_of`` is the run that this one tries again, ``sweep_id`` the sweep whose trial it is.
    """

    id: str
    name: str
    stage: Stage
    state: JobState
    recipe: str
    seed: int
    dataset_version_ids: tuple[str, ...]
    model_version_id: str
    output_version_id: str | None
    job_id: str
    attempts: int
    progress: Progress | None
    summary: dict[str, float]
    reason: str
    packages: dict[str, str]
    peak_memory_bytes: int | None
    created_at: float
    ended_at: float | None
    marks: tuple[Mark, ...] = ()
    paused: bool = False
    priority: int = 0
    after: tuple[str, ...] = ()
    predicted_memory_bytes: int | None = None
    retry_of: str = ""
    sweep_id: str = ""


@dataclass(frozen=True)
class Points:
    """Metric points of a run after a cursor, one column a series.

    ``columns`` maps a metric's name (``train/loss``, ``eval/loss``, ``train/learning_rate``,
    ``train/grad_norm``, ``train/tokens_per_second``, ``train/rewards_chosen``, …) to its points as
    (step, value, seconds of training so far, tokens trained on). Ask again with ``cursor`` and ``epoch``.
    Where ``epoch`` comes back changed, history was rewritten (a resume went back to a checkpoint): these
    are then all points from the start, and what was read before is void.
    """

    run_id: str
    epoch: int
    cursor: int
    columns: dict[str, tuple[tuple[int, float, float, int], ...]]


@dataclass(frozen=True)
class QueuedRun:
    """A run that waits; ``place`` counts from 1, ``waits_for`` says in words what for."""

    run: Run
    place: int
    waits_for: str


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint of a run; ``eval_loss`` is the last one measured up to ``step``, if any was."""

    step: int
    bytes: int
    written_at: float
    eval_loss: float | None
    best: bool
    newest: bool


class FailureKind(StrEnum):
    """Why a run did not succeed."""

    OUT_OF_MEMORY = "out_of_memory"
    NOT_A_NUMBER = "not_a_number"
    BAD_DATA = "bad_data"
    DISK_FULL = "disk_full"
    KILLED = "killed"
    STALLED = "stalled"
    CODE_ERROR = "code_error"
    LOST = "lost"


@dataclass(frozen=True)
class FailureCard:
    """What went wrong and what to do.

    ``evidence`` are lines of the log that show it. ``fix`` maps dotted paths of the recipe to values with
    which a retry has a chance; empty where only a person can mend it.
    """

    kind: FailureKind
    title: str
    evidence: tuple[str, ...]
    suggestion: str
    fix: dict[str, object]


@dataclass(frozen=True)
class Comparison:
    """Runs beside each other: where their recipes differ, and their numbers.

    ``differences`` maps a recipe's dotted path to one value a run (in the order of ``runs``), only where
    they are not all the same. ``table`` maps a metric's name to one value a run.
    """

    runs: tuple[Run, ...]
    differences: dict[str, tuple[object, ...]]
    table: dict[str, tuple[float | None, ...]]
