"""The sample datasets that ship with the studio, and how they are imported on a first start.

The evaluation sets go wholly into the validation split: nothing in them can be trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from studio.core import LOCAL_ADMIN
from studio.datasets import DatasetService, ImportRequest

DATA = Path(__file__).resolve().parent.parent / "data"
LICENCE = "CC0-1.0"


@dataclass(frozen=True)
class Sample:
    """A file of ``data/`` and the dataset it becomes; ``held_out`` is the share that is never trained on."""

    dataset: str
    file: str
    held_out: float
    description: str


SAMPLES = (
    Sample("studio-corpus", "corpus.jsonl", 0.1, "The studio's own guide, for continued pre-training."),
    Sample("studio-instructions", "instructions.jsonl", 0.1, "Questions about using the studio, answered."),
    Sample("studio-preferences", "preferences.jsonl", 0.1, "Pairs of answers of which the better is known."),
    Sample("studio-instructions-eval", "instructions_eval.jsonl", 1.0, "Held out: for evaluation only."),
    Sample("studio-preferences-eval", "preferences_eval.jsonl", 1.0, "Held out: for evaluation only."),
)


def import_samples(datasets: DatasetService) -> None:
    """Import each sample that is not there yet; importing one again changes nothing."""
    present = {summary.name for summary in datasets.list(LOCAL_ADMIN)}
    for sample in SAMPLES:
        if sample.dataset not in present:
            datasets.import_file(LOCAL_ADMIN, _request(sample))


def _request(sample: Sample) -> ImportRequest:
    return ImportRequest(
        source=DATA / sample.file,
        dataset=sample.dataset,
        validation_fraction=sample.held_out,
        licence=LICENCE,
        description=sample.description,
    )
