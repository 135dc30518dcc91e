"""Plans for ``drive``: several trainings of the tiny model in one process, and what they left."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from studio.training import Stage, parse_recipe
from studio.training.metrics import read_points
from studio.training.task import Source, TrainTask

COMMON = "model: m\ndataset: d\nbatch_size: 2\nmax_steps: 8\nsave_every: 100\nseed: 5\nmax_length: 128\n"
GOOD, BAD = "The test reads a file.", "No, never, nobody knows."


def say(role: str, text: str) -> dict[str, str]:
    """A message."""
    return {"role": role, "content": text}


def prompt(number: int) -> list[dict[str, str]]:
    """A prompt of several turns."""
    return [say("user", "What is a test?"), say("assistant", "Which?"), say("user", f"Number {number}.")]


def canonical_rows(stage: Stage, count: int, about: str = "a test") -> list[dict[str, Any]]:
    """Rows that a stage learns from."""
    good, bad = [say("assistant", GOOD)], [say("assistant", BAD)]
    if stage is Stage.CPT:
        return [
            {"text": f"Text {i} tells of {about} that is read again and again. " * 3} for i in range(count)
        ]
    if stage is Stage.SFT:
        answer = say("assistant", f"Then {about} is done.")
        return [{"messages": [say("user", f"Test {i}?"), answer]} for i in range(count)]
    if stage is Stage.KTO:
        return [
            {"prompt": prompt(i), "completion": good if i % 2 else bad, "label": bool(i % 2)}
            for i in range(count)
        ]
    return [{"prompt": prompt(i), "chosen": good, "rejected": bad} for i in range(count)]


@dataclass
class Plan:
    """Trainings below ``root`` by name; ``run`` carries them out."""

    root: Path
    base: Path
    rows: int = 20
    items: list[dict[str, Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def files(self, stage: Stage, name: str = "main", count: int | None = None) -> tuple[Path, Path]:
        """The Parquet files of a dataset, made when they are first asked for."""
        paths = self.root / f"{stage}-{name}-train.parquet", self.root / f"{stage}-{name}-validation.parquet"
        for path, size in zip(paths, (count or self.rows, 4), strict=True):
            if not path.exists():
                pq.write_table(pa.Table.from_pylist(canonical_rows(stage, size, f"a {name}")), path)
        return paths

    def task(self, name: str, stage: Stage, text: str, **of: Any) -> TrainTask:
        """A task whose recipe is ``COMMON`` overlaid with ``text``."""
        (self.root / name).mkdir(exist_ok=True)
        keys = {line.partition(":")[0] for line in text.splitlines()}
        kept = [line for line in COMMON.splitlines() if line.partition(":")[0] not in keys]
        recipe = parse_recipe(stage, "\n".join([*kept, text]))
        mix = tuple(
            Source(source.dataset, source.weight, *self.files(stage, source.dataset, 6))
            for source in recipe.mix
        )
        base, adapter = of.pop("base", self.base), of.pop("adapter", None)
        return TrainTask(name, recipe, self.root / name, base, adapter, *self.files(stage), mix=mix, **of)

    def add(
        self, name: str, stage: Stage, text: str, *, stop: int | None = None, label: str = "", **of: Any
    ) -> None:
        """Add a training; ``label`` names this attempt at it."""
        self.names.append(label or name)
        job = self.root / "jobs" / self.names[-1]
        payload = self.task(name, stage, text, **of).payload()
        self.items.append({"payload": payload, "job": str(job), "stop_after": stop})

    def probe(self, name: str, probe: str, **of: Any) -> None:
        """Look at something that the trainings before have left."""
        self.names.append(name)
        self.items.append({"probe": probe, "of": {key: _plain(value) for key, value in of.items()}})

    def run(self) -> Trained:
        """Carry everything out in one process."""
        path = self.root / "plan.json"
        path.write_text(json.dumps(self.items))
        subprocess.run([sys.executable, "-m", "tests.unit.training.drive", str(path)], check=True)
        outcomes = json.loads(path.with_suffix(".json.out").read_text())
        return Trained(self.root, dict(zip(self.names, outcomes, strict=True)))


@dataclass(frozen=True)
class Trained:
    """The run directories and outcomes of a plan, by name."""

    root: Path
    outcomes: dict[str, dict[str, Any]]

    def found(self, name: str) -> Any:
        """What a probe came to."""
        return self.outcomes[name]["found"]

    def result(self, name: str) -> dict[str, Any]:
        """A training's result."""
        value: dict[str, Any] = json.loads((self.root / name / "result.json").read_text())
        return value

    def columns(self, name: str) -> dict[str, Any]:
        """Every series of a training."""
        return read_points(self.root / name / "metrics.jsonl", name, 0, 0).columns

    def series(self, name: str, metric: str) -> dict[int, float]:
        """One series of a training, by step."""
        return {step: value for step, value, _, _ in self.columns(name)[metric]}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
