"""An engine's weights as the registry takes them: a PEFT adapter, or a whole model with its tokeniser.

The tokeniser and the chat template are the base's own files: an engine may have written changed ones, and
what the studio serves is rendered by the base's.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from studio.core import InvalidInput, read_json, write_json
from studio.registry.folders import MODEL_FILES, count_parameters, publish
from studio.training.task import TrainTask

_ADAPTER = ("adapter_model.safetensors", "adapter_config.json")
_WHOLE = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json")


def hand_over(task: TrainTask, source: Path) -> int:
    """Put the weights in ``source`` where the run's weights belong; returns how many were trained.

    Raises:
        InvalidInput: There are no weights, or they are cut short.
    """
    staging = task.output.with_name(f".{task.output.name}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    if task.recipe.adapts:
        _take_adapter(task, source, staging)
    else:
        _take_model(task, source, staging)
    shutil.rmtree(task.output, ignore_errors=True)
    publish(staging, task.output)
    return sum(map(count_parameters, task.output.glob("*.safetensors")))


def has_weights(task: TrainTask, source: Path) -> bool:
    """Whether an engine has left finished weights in ``source``."""
    pattern = _ADAPTER[0] if task.recipe.adapts else "*.safetensors"
    return any(source.glob(pattern))


def _take_adapter(task: TrainTask, source: Path, staging: Path) -> None:
    _require(task, source)
    shutil.copyfile(source / _ADAPTER[0], staging / _ADAPTER[0])
    config = read_json(source / _ADAPTER[1]) or {}
    changed = {"base_model_name_or_path": str(task.base), "inference_mode": True}
    write_json(staging / _ADAPTER[1], {**config, **changed})


def _take_model(task: TrainTask, source: Path, staging: Path) -> None:
    _require(task, source)
    for pattern in _WHOLE:
        for file in source.glob(pattern):
            shutil.copyfile(file, staging / file.name)
    for pattern in MODEL_FILES:
        for file in task.base.glob(pattern):
            weights = file.suffix == ".safetensors" or "index" in file.name
            if not weights and not (staging / file.name).exists():
                shutil.copyfile(file, staging / file.name)
    config = read_json(staging / "config.json") or {}
    # Off while a model is trained; whoever serves it wants it on.
    write_json(staging / "config.json", {**config, "use_cache": True})


def _require(task: TrainTask, source: Path) -> None:
    if not has_weights(task, source):
        raise InvalidInput("The engine left no weights.", "Look at the end of the run's log.")
