"""The services that training stands on, over one home, without a web server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from studio.core import LOCAL_ADMIN, Audit, Database, Lineage, Settings
from studio.datasets import DatasetService, ImportRequest
from studio.jobs import JobService
from studio.registry import BaseSource, RegistryService
from studio.training import Run, Stage, StartRun, TrainingService

RECIPE = "model: tiny\ndataset: talk\noutput: tuned\nlearning_rate: 1e-3\nmax_length: 128\nbatch_size: 2\n"


@dataclass(frozen=True)
class Room:
    """A training service and what is below it."""

    home: Path
    database: Database
    audit: Audit
    lineage: Lineage
    jobs: JobService
    datasets: DatasetService
    registry: RegistryService
    training: TrainingService

    def tick(self) -> None:
        """One beat, as the studio has it."""
        ended = self.jobs.tick()
        if ended:
            self.training.settle(ended)

    def start(self, recipe: str = "", stage: Stage = Stage.SFT, request_id: str = "") -> Run:
        """Start a run of ``RECIPE`` and what is added to it."""
        return self.training.start(LOCAL_ADMIN, StartRun(stage, RECIPE + recipe, request_id=request_id))

    def get(self, run: Run) -> Run:
        """The run as it stands."""
        return self.training.get(LOCAL_ADMIN, run.id)

    def until(self, run: Run, holds: Callable[[Run], bool], seconds: float = 120.0) -> Run:
        """Beat until something holds of the run; a run that ends otherwise is shown."""
        deadline = time.monotonic() + seconds
        while True:
            self.tick()
            now = self.get(run)
            if holds(now):
                return now
            assert time.monotonic() < deadline, now
            assert not now.state.final, (now, self.training.log(LOCAL_ADMIN, run.id, -3000).text)
            time.sleep(0.02)

    def steps(self, run: Run) -> list[int]:
        """The steps of every point of the training curve, as they stand in the file."""
        path = self.home / "runs" / run.id / "metrics.jsonl"
        if not path.exists():
            return []
        lines = [
            json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")
        ]
        return [line["step"] for line in lines if "train/loss" in line]


def open_room(home: Path) -> Room:
    """The services on ``home``."""
    settings = Settings(_env_file=None, home=home, embedded_model=False, sample_data=False)
    database = Database(settings.database_path)
    lineage, audit = Lineage(database), Audit(database)
    jobs = JobService(database, home, audit, training_slots=1, stop_grace_seconds=60.0)
    datasets = DatasetService(database, home, jobs, lineage, audit, settings)
    registry = RegistryService(database, home, jobs, lineage, audit)
    training = TrainingService(database, home, jobs, datasets, registry, lineage, audit)
    return Room(home, database, audit, lineage, jobs, datasets, registry, training)


def furnish(room: Room, tiny_model: Path) -> None:
    """A base model, a dataset to learn from and one of another kind."""
    room.registry.register_base(LOCAL_ADMIN, BaseSource(str(tiny_model), "tiny"))
    talk = [
        {"prompt": f"Question {i}?", "completion": f"Answer {i}, read from a test file."} for i in range(30)
    ]
    corpus = [{"text": f"Text number {i} of the corpus, which is read to the end."} for i in range(20)]
    for name, rows in (("talk", talk), ("corpus", corpus)):
        # Beside the home: the studio imports none of its own files.
        source = room.home.with_name(f"{room.home.name}-{name}.jsonl")
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        room.datasets.import_file(LOCAL_ADMIN, ImportRequest(source, name))
