"""One pass through a task, from its rows to its weights; the stages' own modules make the trainers.

A stop request is looked for at every step; the trainer then saves and ends. A resumed run takes the
newest complete checkpoint, forgets the points after it and goes on with the same rows in the same order,
so its curve is the one it would have had. Without a checkpoint it starts over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from datasets import disable_progress_bars

from studio.core import InvalidInput, write_json
from studio.jobs import JobContext
from studio.training import checkpoints
from studio.training.engines import allocator, dpo, kto, ranks, reward, rows, sft, usage, weights
from studio.training.engines.full_disk import translated
from studio.training.engines.meter import Meter, Stopped
from studio.training.engines.mixing import Mixture, sample
from studio.training.engines.rows import TokenRow
from studio.training.engines.setup import Setup, Trainer
from studio.training.metrics import rewind
from studio.training.records import Stage
from studio.training.task import RESULT, TrainTask

#: What makes the trainer of each stage.
_TRAINERS = {
    Stage.CPT: sft.trainer,
    Stage.SFT: sft.trainer,
    Stage.DPO: dpo.trainer,
    Stage.KTO: kto.trainer,
    Stage.REWARD: reward.trainer,
}


def train(task: TrainTask, context: JobContext) -> bool:
    """Train ``task`` to its end (True) or to a stop request (False); its weights are then in place.

    Raises:
        StudioError: The data or the recipe cannot be trained, training diverged, or the disk is full.
    """
    transformers.logging.set_verbosity_warning()
    transformers.logging.disable_progress_bar()
    disable_progress_bars()
    if task.recipe.recompute:
        allocator.return_large_blocks()
    with usage.watch(task):
        return _train(task, context)


def _train(task: TrainTask, context: JobContext) -> bool:
    ranks.join()
    context.progress("loading the model", 0, 0)
    loaded = weights.load(task)
    context.progress("reading the data", 0, 0)
    train_rows, mixture = _training_rows(task, loaded)
    checkpoint = _go_back(task)
    meter = Meter(task, context, checkpoints.counted(checkpoint) if checkpoint else {})
    try:
        validation = _validation_rows(task, loaded)
        setup = Setup(task, loaded, train_rows, validation, meter, checkpoint is None, mixture)
        trainer = _TRAINERS[task.stage](setup)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if meter.stopped:
            return False
        context.progress("saving", trainer.state.global_step, trainer.state.max_steps)
        _finish(setup, trainer, context)
    except Stopped:
        return False
    finally:
        meter.close()
    return True


def _training_rows(task: TrainTask, loaded: weights.Loaded) -> tuple[list[TokenRow], Mixture | None]:
    """The rows of every source behind each other, and how they are mixed if there are several."""
    main = _rows(task, loaded, task.train)
    if not main:
        raise InvalidInput("The dataset has no training rows.", "Import it with a smaller validation share.")
    if not task.mix:
        return main, None
    others = [_rows(task, loaded, source.train, source.name) for source in task.mix]
    for source, found in zip(task.mix, others, strict=True):
        if not found:
            raise InvalidInput(f"{source.name} has no training rows.", "Take it out of mix.")
    shares = (task.recipe.weight, *(source.weight for source in task.mix))
    mixture = Mixture((len(main), *map(len, others)), shares, task.recipe.seed)
    said = ", ".join(f"{count} of {size}" for count, size in zip(mixture.counts, mixture.sizes, strict=True))
    print(f"an epoch has {len(mixture)} sequences: {said}", flush=True)
    return main + [row for found in others for row in found], mixture


def _validation_rows(task: TrainTask, loaded: weights.Loaded) -> list[TokenRow]:
    """The held-out rows of every source, or as many of them as the recipe wants."""
    found = _rows(task, loaded, task.validation)
    for source in task.mix:
        found += _rows(task, loaded, source.validation, source.name)
    return [found[place] for place in sample(len(found), task.recipe.eval_rows, task.recipe.seed)]


def _rows(task: TrainTask, loaded: weights.Loaded, path: Path, name: str = "") -> list[TokenRow]:
    made = rows.load_rows(loaded.tokenizer, path, task.recipe, base=task.base, tokens=task.tokens)
    what = f"{name} {path.stem}".strip()
    if made.left_out:
        print(f"{what}: {made.left_out} rows left out, longer than max_length or empty", flush=True)
    print(f"{what}: {len(made.rows)} sequences", flush=True)
    return made.rows


def _go_back(task: TrainTask) -> Path | None:
    """The checkpoint to resume from; the points after it (all of them if there is none) are forgotten."""
    found = ranks.agreed(checkpoints.choose(task.checkpoints, task.resume_step) if ranks.first() else None)
    if found is not None:
        step = checkpoints.step_of(found)
        print(f"resuming from step {step}", flush=True)
    if ranks.first() and task.metrics.exists():
        rewind(task.metrics, checkpoints.step_of(found) if found else -1)
    ranks.wait()
    return found if found is None else Path(found)


def _finish(setup: Setup, trainer: Trainer, context: JobContext) -> None:
    task, meter = setup.task, setup.meter
    model = trainer.accelerator.unwrap_model(trainer.model)
    step = _take_best(setup, model, trainer.state.global_step)
    result = {
        "path": str(task.output),
        "kind": "adapter" if task.recipe.adapts else "merged",
        "task": "reward" if task.stage is Stage.REWARD else "chat",
        "parameters": _save(setup, trainer, model),
        "steps": trainer.state.global_step,
        "step": step,
        "seconds": meter.seconds,
        "tokens": meter.tokens,
    }
    if ranks.first():
        write_json(task.directory / RESULT, result)
        context.result(result)
    ranks.wait()


def _take_best(setup: Setup, model: Any, last: int) -> int:
    """Where the recipe wants it, put the best weights back; returns the step whose weights they are."""
    verdict, root = setup.meter.verdict, setup.task.checkpoints
    if not setup.task.recipe.keep_best or verdict.best_step in (None, last):
        return last
    best = checkpoints.at(root, verdict.best_step)
    if best is None:
        print(
            f"the checkpoint of step {verdict.best_step} is gone; the last weights are given out", flush=True
        )
        return last
    weights.restore(model, best)
    print(f"giving out step {verdict.best_step}, evaluation loss {verdict.best_loss:.4g}", flush=True)
    return verdict.best_step


def _save(setup: Setup, trainer: Trainer, model: Any) -> int:
    """Write the finished weights; returns the number of trained parameters.

    Raises:
        StudioError: The disk is full.
    """
    try:
        if setup.task.recipe.parallel != "ddp":
            return weights.save_sharded(setup.loaded, trainer, setup.task.output)
        return weights.save(setup.loaded, model, setup.task.output) if ranks.first() else 0
    except Exception as error:
        raise translated(error, setup.task.directory) from error
