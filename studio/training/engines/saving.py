"""How our trainers save, evaluate and step: whole checkpoints only, and an evaluation that can be left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core import StudioError
from studio.training import checkpoints
from studio.training.engines import ranks, speed, weights
from studio.training.engines.full_disk import is_full
from studio.training.engines.meter import Meter, Stopped, remove_own_reports
from studio.training.engines.mixing import MixtureSampler

if TYPE_CHECKING:
    from studio.training.engines.setup import Setup
    from studio.training.task import TrainTask

_TRAINER_STATE = "trainer_state.json"


class Saving:
    """Goes before one of TRL's trainers: saves into ``step-000010``, marked once it is whole."""

    task: TrainTask
    meter: Meter
    setup: Setup
    state: Any

    def _save_checkpoint(self: Any, _model: Any, _trial: Any) -> None:
        step = self.state.global_step
        with checkpoint(self.task.checkpoints, step) as path:
            self.save_model(str(path), _internal_call=True)
            self._save_optimizer_and_scheduler(str(path))
            self._save_rng_state(str(path))
            ranks.wait()
            if ranks.first():
                self.state.save_to_json(str(path / _TRAINER_STATE))
                checkpoints.seal(path, self.meter.counted(step))
                checkpoints.prune(self.task.checkpoints, self.task.recipe.keep_checkpoints)
        ranks.wait()

    def create_optimizer(self: Any, model: Any = None) -> Any:
        """TRL's own, but for LoRA+, whose matrices have rates of their own."""
        recipe = self.task.recipe
        if self.optimizer is not None or not recipe.adapts or recipe.lora.plus_ratio == 1.0:
            return super().create_optimizer(model)  # type: ignore[misc]
        trained = self.model if model is None else model
        kind, options = self.get_optimizer_cls_and_kwargs(self.args, trained)
        self.optimizer = kind(weights.parameter_groups(trained, recipe), **options)
        return self.optimizer

    def _get_train_sampler(self: Any, train_dataset: Any = None) -> Any:
        if self.setup.mixture is None:
            return super()._get_train_sampler(train_dataset)  # type: ignore[misc]
        return MixtureSampler(self.setup.mixture)

    def evaluate(self: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate; left where someone asks to stop."""
        try:
            found: dict[str, float] = super().evaluate(*args, **kwargs)  # type: ignore[misc]
        except Stopped:
            self.control.should_training_stop, self.control.should_evaluate = True, False
            self.control.should_save = self.state.global_step > 0
            return {}
        return found


@contextmanager
def checkpoint(root: Path, step: int) -> Iterator[Path]:
    """A directory to write the checkpoint of ``step`` into; removed again if that fails.

    Rank 0 makes it and the others wait. What was saved before stays as it is.

    Raises:
        StudioError: The disk is full.
    """
    path = checkpoints.directory_for(root, step)
    if ranks.first():
        checkpoints.begin(root, step)
    ranks.wait()
    try:
        yield path
    except Exception as error:
        if ranks.first():
            checkpoints.abandon(path)
        if not is_full(error, root):
            raise
        last = checkpoints.newest(root)
        raise StudioError(
            f"The disk is full: the checkpoint of step {step} could not be written.",
            "Free some space and resume; it goes on from "
            + (
                f"the checkpoint of step {checkpoints.step_of(last)}, which is whole."
                if last
                else "the start."
            ),
        ) from error


def attach(trainer: Any, setup: Setup) -> None:
    """Make one of TRL's trainers save, report and score as the studio wants it."""
    trainer.task, trainer.meter, trainer.setup = setup.task, setup.meter, setup
    setup.meter.trainer = trainer
    remove_own_reports(trainer)
    setup.loaded.keep_precise()
    speed.speed_up(trainer, setup.loaded.base, setup.task.recipe)
