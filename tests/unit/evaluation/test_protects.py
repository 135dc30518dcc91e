"""An evaluation keeps the prompts that it measures with from being trained on later."""

from __future__ import annotations

from studio.core import LOCAL_ADMIN
from studio.datasets import DatasetService, DatasetVersion, Split
from studio.datasets.canonical import prompt_key
from studio.datasets.parquet_files import read_rows
from studio.evaluation import EvaluationKind, EvaluationService
from studio.registry import ModelVersion


def prompts(version: DatasetVersion, split: Split) -> set[str]:
    return {prompt_key(row) for row in read_rows(version.file(split))}


def test_held_out_prompts_are_protected_and_training_rows_are_not(
    evaluation: EvaluationService, datasets: DatasetService, instructions: DatasetVersion, base: ModelVersion
) -> None:
    held_out = prompts(instructions, Split.VALIDATION)
    trained = prompts(instructions, Split.TRAIN)
    assert held_out
    if trained:
        evaluation.start(
            LOCAL_ADMIN, EvaluationKind.ANSWER_LOSS, base.reference, instructions.id, split=Split.TRAIN
        )
    assert datasets.protected(LOCAL_ADMIN, held_out | trained) == {}
    for _ in range(2):
        evaluation.start(LOCAL_ADMIN, EvaluationKind.ANSWER_LOSS, base.reference, instructions.id)
    why = (f"evaluation ({instructions.reference})",)
    assert datasets.protected(LOCAL_ADMIN, held_out | trained) == dict.fromkeys(held_out, why)
