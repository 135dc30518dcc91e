"""A room with sweeps, and ends of trials without a trainer: what it would have measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from studio.core import LOCAL_ADMIN
from studio.jobs import JobState
from studio.training import Run
from studio.training.metrics import MetricsWriter
from studio.training.sweeps import Sweep, SweepService, SweepState, Trial, TrialState
from tests.unit.training.ends import end_job, give_weights
from tests.unit.training.room import Room

ADMIN = LOCAL_ADMIN
RECIPE = {
    "stage": "sft",
    "model": "tiny",
    "dataset": "talk",
    "output": "tuned",
    "max_length": 128,
    "batch_size": 2,
    "max_steps": 6,
    "eval_every": 2,
}
SPACE = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "lora.r": [4, 8]}


def wanted(**changes: Any) -> dict[str, Any]:
    """A sweep of four trials, with ``changes``."""
    return {"recipe": RECIPE, "space": SPACE, "trials": 4, "seed": 3, **changes}


@dataclass
class Bench:
    """A room and its sweeps, which nothing moves on but ``beat``."""

    room: Room
    sweeps: SweepService

    def start(self, **changes: Any) -> Sweep:
        return self.sweeps.start(ADMIN, wanted(**changes))

    def beat(self) -> None:
        """What the studio does, without starting any process."""
        self.room.training.settle(())
        self.sweeps.tick()

    def trials(self, sweep: Sweep) -> tuple[Trial, ...]:
        return self.sweeps.trials(ADMIN, sweep.id)

    def run(self, trial: Trial) -> Run:
        return self.room.training.get(ADMIN, trial.run_id)

    def runs(self, sweep: Sweep) -> list[Run]:
        return [run for run in self.room.training.list(ADMIN) if run.sweep_id == sweep.id]

    def going(self, sweep: Sweep) -> Trial:
        """The one trial that has not ended."""
        [trial] = [one for one in self.trials(sweep) if not one.state.final]
        return trial

    def measure(self, trial: Trial, *losses: float, name: str = "eval/loss") -> None:
        """The run's evaluations from the first on: one before training, then every two steps."""
        writer = MetricsWriter(self.room.home / "runs" / trial.run_id / "metrics.jsonl")
        writer.append(0, 0.0, 0, {name: 9.0})
        for place, loss in enumerate(losses, start=1):
            writer.append(2 * place, float(place), 100 * place, {"train/loss": loss, name: loss})
        writer.close()

    def complete(self, trial: Trial, *losses: float) -> None:
        """The trial's run comes to its end."""
        if losses:
            self.measure(trial, *losses)
        run = self.run(trial)
        end_job(self.room, run, 0, result=give_weights(self.room, run))
        assert self.run(trial).state is JobState.SUCCEEDED


def open_sweeps(room: Room) -> SweepService:
    return SweepService(
        room.database, room.home, room.training, room.datasets, room.registry, room.audit, every_seconds=0.0
    )


def run_to_the_end(bench: Bench, sweep: Sweep) -> None:
    """Let every trial of a sweep come to an end, each with a loss of its own."""
    while True:
        bench.beat()
        if bench.sweeps.get(ADMIN, sweep.id).state is not SweepState.RUNNING:
            return
        for trial in bench.trials(sweep):
            if trial.state is TrialState.RUNNING and not bench.run(trial).state.final:
                bench.complete(trial, 3.0, 1.0 + trial.number)
