"""The change of a recipe with which a failed run has a chance, by what it failed of.

Memory that ran out is answered by the estimate: the smallest change by which the run needs at least a fifth
less than it was counted to need, and no more than the machine has. Where no estimate can be made, the
usual first steps are taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from studio.core import StudioError
from studio.jobs import Job, JobContext
from studio.training.memory import MemoryEstimate, Part, Usage, count, read_adapter, read_shape, this_device
from studio.training.memory.fixes import find_fix
from studio.training.recipes import Recipe
from studio.training.records import FailureKind
from studio.training.task import TrainTask

Changes = dict[str, Any]

#: A run that failed for memory must come to need so much of what it was counted to need.
_LESS = 0.8
#: Of a machine's whole memory, so much can be a run's.
_MOST_OF_MACHINE = 0.9


def fix_for(
    kind: FailureKind,
    recipe: Recipe | None,
    job: Job,
    log: str,
    usage: Usage,
    memory: MemoryEstimate | None,
) -> Changes:
    """The changes for a retry, by dotted path; empty where no change of the recipe would help."""
    if recipe is None:
        return {}
    by_kind: dict[FailureKind, Callable[[], Changes]] = {
        FailureKind.OUT_OF_MEMORY: lambda: _less_memory(recipe, job, usage, memory),
        FailureKind.NOT_A_NUMBER: lambda: _calmer(recipe),
        FailureKind.BAD_DATA: lambda: _longer(recipe, log),
        FailureKind.DISK_FULL: lambda: _fewer_checkpoints(recipe),
        FailureKind.CODE_ERROR: lambda: _without_missing(recipe, log),
    }
    return by_kind[kind]() if kind in by_kind else {}


def _less_memory(recipe: Recipe, job: Job, usage: Usage, memory: MemoryEstimate | None) -> Changes:
    if memory is not None and memory.fix is not None:
        return dict(memory.fix.changes)
    try:
        found = _counted_fix(recipe, job, usage)
    except (StudioError, OSError, KeyError, TypeError, ValueError):
        found = None  # The model or the job's papers are gone.
    return found or _first_steps(recipe)


def _counted_fix(recipe: Recipe, job: Job, usage: Usage) -> Changes | None:
    task = TrainTask.from_payload(JobContext(job.directory).payload)
    shape, device = read_shape(task.base), this_device()
    adapter = read_adapter(task.adapter) if task.adapter else None

    def needed(changed: Recipe) -> tuple[Part, ...]:
        return count(shape, changed, changed.max_length, device, adapter=adapter)

    now = sum(part.bytes for part in needed(recipe))
    # What the counts are off by is seen in the run itself, where it got far enough to be measured.
    seen = max(usage.attempt_peak_bytes if device.kind == "cpu" else usage.peak_cuda_bytes, now)
    limit = min(_LESS * now, _MOST_OF_MACHINE * device.total * now / seen)
    fix = find_fix(recipe, recipe.max_length, int(limit), needed)
    return dict(fix.changes) if fix else None


def _first_steps(recipe: Recipe) -> Changes:
    changes: Changes = {} if recipe.recompute else {"recompute": True}
    if recipe.batch_size > 1:
        size = _largest_half(recipe.batch_size)
        rows = recipe.batch_size * recipe.gradient_accumulation
        return changes | {"batch_size": size, "gradient_accumulation": rows // size}
    if changes or recipe.max_length < 32:
        return changes
    return {"max_length": recipe.max_length // 2}


def _largest_half(size: int) -> int:
    """The largest proper divisor: the rows of a step can be kept."""
    return next(part for part in range(size // 2, 0, -1) if size % part == 0)


def _calmer(recipe: Recipe) -> Changes:
    if recipe.dtype == "fp16":
        # Its largest number is 65,504; bfloat16 reaches as far as float32.
        return {"dtype": "bf16"}
    return {"learning_rate": float(f"{recipe.learning_rate / 5:.1e}")}


def _longer(recipe: Recipe, log: str) -> Changes:
    if re.search(r"rows fits into max_length", log) and recipe.max_length <= 1 << 18:
        return {"max_length": recipe.max_length * 4}
    return {}


def _fewer_checkpoints(recipe: Recipe) -> Changes:
    if recipe.keep_checkpoints > 1:
        return {"keep_checkpoints": 1}
    return {"save_every": recipe.save_every * 4}


def _without_missing(recipe: Recipe, log: str) -> Changes:
    if recipe.attention == "flash" and re.search(r"flash.?attn|flash_attention", log, re.IGNORECASE):
        return {"attention": "sdpa"}
    if recipe.method == "qlora" and re.search(r"bitsandbytes", log, re.IGNORECASE):
        return {"method": "lora"}
    return {}
