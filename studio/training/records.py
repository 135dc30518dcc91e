"""The records of the training room."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from studio.core import Mark
from studio.jobs import JobState, Progress


class Stage(StrEnum):
    """What a run teaches: text as it stands, answers to instructions, or which answer is better."""

    CPT = "cpt"
    SFT = "sft"
    DPO = "dpo"


@dataclass(frozen=True)
class StartRun:
    """A run to start. ``recipe`` is the YAML text of one recipe; ``request_id`` makes a retry harmless."""

    stage: Stage
    recipe: str
    name: str = ""
    request_id: str = ""


@dataclass(frozen=True)
class Run:
    """One training run: what it was asked to do, where it stands, and what it made.

    ``recipe`` is the whole recipe as YAML with every default written out. ``summary`` holds the last
    value of each metric, and for evaluations also the first (``eval/loss/first``). ``output_version_id``
    is set once the weights are registered, and only then is the state SUCCEEDED. ``marks`` are remarks on
    what it learnt from.
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
