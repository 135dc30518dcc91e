"""Two processes against one, of the real worker, with as many rows a step: ``training.ddp_2_processes``."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.report import Figure
from studio.training import parse_recipe
from studio.training.recipes import dump_recipe
from studio.training.task import TrainTask

_ROUNDS = 2
_STEPS = 5
_MOST_SECONDS = 1800


def ddp_2_processes(make: Callable[[str, Path, int], TrainTask], folder: Path) -> Figure:
    """Tokens a second of two processes over those of one, in turns; ``make`` makes a task of some steps."""
    ratios, rates = [], []
    for number in range(_ROUNDS):
        found = [_rate(make, folder / f"{number}-{processes}", processes) for processes in (1, 2)]
        ratios.append(found[1] / found[0])
        rates.append(found)
    one, two = (statistics.median(column) for column in zip(*rates, strict=True))
    peer = f"one process with all cores and the same rows a step: {one:.0f} tokens/s, two have {two:.0f}"
    return Figure("training.ddp_2_processes", statistics.median(ratios), "x", "", peer)


def _rate(make: Callable[[str, Path, int], TrainTask], folder: Path, processes: int) -> float:
    """Tokens a second of a run, its first step left out."""
    folder.mkdir()
    task = make("studio", folder, _STEPS)
    values = {"processes": processes, "batch_size": task.recipe.batch_size // processes}
    text = dump_recipe(task.recipe.model_copy(update=values))
    task = replace(task, recipe=parse_recipe(task.stage, text))
    (folder / "payload.json").write_text(json.dumps(task.payload()))
    command = [sys.executable, "-m", "studio.training.worker", str(folder)]
    with (folder / "log.txt").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log, timeout=_MOST_SECONDS)
    lines = [json.loads(line) for line in task.metrics.read_text().splitlines()]
    rates = [line["train/tokens_per_second"] for line in lines if "train/tokens_per_second" in line]
    return statistics.median(rates[1:])
