"""Training with TRL: one pass through a task, from its rows to its weights.

A stop request is looked for at every step; the trainer then saves and ends. A resumed run takes the
newest complete checkpoint, forgets the points after it and goes on with the same rows in the same order,
so its curve is the one it would have had. Without a checkpoint it starts over.

The reference of DPO is the model as it stood before the first step: the base under a fresh adapter, or
the adapter the run goes on from. Its log-probabilities are computed once, before anything is learnt: the
same numbers as from a frozen copy beside the policy, for one pass over the pairs instead of one an epoch.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset, disable_progress_bars
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from studio.core import InvalidInput, read_json, write_json
from studio.jobs import JobContext
from studio.training import checkpoints
from studio.training.engines import head, rows, weights
from studio.training.engines.meter import Meter, Stopped, remove_own_reports
from studio.training.metrics import rewind
from studio.training.recipes import DpoRecipe, Recipe
from studio.training.task import RESULT, TrainTask

_TRAINER_STATE = "trainer_state.json"


class _Checkpoints:
    """How our trainers save: into ``step-000010``, marked once it is whole."""

    task: TrainTask
    meter: Meter
    state: Any

    def _save_checkpoint(self: Any, _model: Any, _trial: Any) -> None:
        path = checkpoints.begin(self.task.checkpoints, self.state.global_step)
        self.save_model(str(path), _internal_call=True)
        self._save_optimizer_and_scheduler(str(path))
        self._save_rng_state(str(path))
        self.state.save_to_json(str(path / _TRAINER_STATE))
        checkpoints.seal(path, self.meter.counted(self.state.global_step))
        checkpoints.prune(self.task.checkpoints, self.task.recipe.keep_checkpoints)

    def evaluate(self: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        try:
            found: dict[str, float] = super().evaluate(*args, **kwargs)  # type: ignore[misc]
        except Stopped:
            self.control.should_training_stop, self.control.should_evaluate = True, False
            self.control.should_save = self.state.global_step > 0
            return {}
        return found


class _Sft(_Checkpoints, SFTTrainer):  # type: ignore[misc]
    """CPT and SFT."""


class _Dpo(_Checkpoints, DPOTrainer):  # type: ignore[misc]
    """DPO over rows that have their tokens already."""

    train_dataset: Any
    eval_dataset: Any

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def fix_reference(self) -> None:
        """Store the log-probabilities of the model as it stands with every pair."""
        self.train_dataset = self._with_reference(self.train_dataset)
        if self.eval_dataset is not None:
            self.eval_dataset = self._with_reference(self.eval_dataset)
        self.precompute_ref_logps = True

    def _with_reference(self, dataset: Any) -> Any:
        chosen: list[float] = []
        rejected: list[float] = []
        size = self.args.per_device_eval_batch_size
        for start in range(0, len(dataset), size):
            stop = min(start + size, len(dataset))
            good, bad = self._score([dataset[place] for place in range(start, stop)])
            chosen += good.tolist()
            rejected += bad.tolist()
            self.meter.reference_progress(stop, len(dataset))
        dataset = dataset.add_column("ref_chosen_logps", chosen)
        return dataset.add_column("ref_rejected_logps", rejected)

    def _score(self, pairs: list[Any]) -> tuple[Any, Any]:
        """The summed log-probabilities of the chosen and of the rejected answers."""
        # Not by TRL's compute_ref_log_probs: without a second adapter it scores the base.
        batch = self._prepare_inputs(self.data_collator(pairs))
        ids, mask = batch["input_ids"], batch["attention_mask"]
        labels = ids.masked_fill(batch["completion_mask"] == 0, -100)
        self.model.eval()
        with torch.no_grad(), self.accelerator.autocast():
            scored = self.model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
        good, bad = scored.log_probs.float().sum(dim=1).chunk(2)
        return good, bad


def train(task: TrainTask, context: JobContext) -> bool:
    """Train ``task`` to its end (True) or to a stop request (False); its weights are then in place.

    Raises:
        StudioError: The data or the recipe cannot be trained, or training diverged.
    """
    transformers.logging.set_verbosity_warning()
    transformers.logging.disable_progress_bar()
    disable_progress_bars()
    try:
        return _train(task, context)
    finally:
        _record_usage(task)


def _train(task: TrainTask, context: JobContext) -> bool:
    context.progress("loading the model", 0, 0)
    loaded = weights.load(task)
    context.progress("reading the data", 0, 0)
    data = {split: _dataset(task, loaded, path) for split, path in _files(task).items()}
    checkpoint = _go_back(task)
    meter = Meter(task, context, checkpoints.counted(checkpoint) if checkpoint else {})
    try:
        trainer = _trainer(task, loaded, data, meter, fresh=checkpoint is None)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if meter.stopped:
            return False
        context.progress("saving", trainer.state.global_step, trainer.state.max_steps)
        _finish(task, loaded, trainer, context)
    except Stopped:
        return False
    finally:
        meter.close()
    return True


def _files(task: TrainTask) -> dict[str, Path]:
    return {"train": task.train, "validation": task.validation}


def _dataset(task: TrainTask, loaded: weights.Loaded, path: Path) -> Any:
    made = rows.tokenise(loaded.tokenizer, rows.read_rows(path), task.recipe)
    if made.left_out:
        print(f"{path.stem}: {made.left_out} rows left out, longer than max_length or empty", flush=True)
    print(f"{path.stem}: {len(made.rows)} sequences", flush=True)
    return Dataset.from_list(made.rows) if made.rows else None


def _go_back(task: TrainTask) -> Path | None:
    """The checkpoint to resume from; the points after it (all of them if there is none) are forgotten."""
    checkpoint = checkpoints.newest(task.checkpoints)
    if checkpoint is not None:
        step = int(checkpoints.counted(checkpoint)["step"])
        print(f"resuming from step {step}", flush=True)
        rewind(task.metrics, step)
    elif task.metrics.exists():
        rewind(task.metrics, -1)
    return checkpoint


def _trainer(task: TrainTask, loaded: weights.Loaded, data: Any, meter: Meter, *, fresh: bool) -> Any:
    if data["train"] is None:
        raise InvalidInput("The dataset has no training rows.", "Import it with a smaller validation share.")
    preference = isinstance(task.recipe, DpoRecipe)
    common = _common_arguments(task, loaded, evaluate=fresh and data["validation"] is not None)
    trainer = (_Dpo if preference else _Sft)(
        model=loaded.model,
        args=(_dpo_arguments if preference else _sft_arguments)(task.recipe, common),
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        processing_class=loaded.tokenizer,
        callbacks=[meter],
    )
    trainer.task, trainer.meter, meter.trainer = task, meter, trainer
    remove_own_reports(trainer)
    base = loaded.model.get_base_model() if task.recipe.method == "lora" else loaded.model
    if trainer.accelerator.device.type == "cpu" and head.can_score(base):
        head.score_only_labels(base)
    if preference:
        _drop_second_adapter(trainer.model)
        trainer.fix_reference()
    return trainer


def _drop_second_adapter(model: Any) -> None:
    # TRL adds the frozen copy itself. The reference is fixed in numbers here, so the copy is not needed.
    if "ref" in getattr(model, "peft_config", {}):
        model.delete_adapter("ref")


def _common_arguments(task: TrainTask, loaded: weights.Loaded, *, evaluate: bool) -> dict[str, Any]:
    recipe = task.recipe
    cuda = torch.cuda.is_available()
    return {
        "output_dir": str(task.directory),
        "num_train_epochs": recipe.epochs,
        "max_steps": recipe.max_steps,
        "per_device_train_batch_size": recipe.batch_size,
        "per_device_eval_batch_size": recipe.batch_size * 2,
        "gradient_accumulation_steps": recipe.gradient_accumulation,
        "learning_rate": recipe.learning_rate,
        "warmup_steps": 0 if recipe.scheduler == "constant" else recipe.warmup_ratio,
        "lr_scheduler_type": recipe.scheduler,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "seed": recipe.seed,
        "bf16": loaded.half,
        "use_cpu": not cuda,
        "eval_on_start": evaluate,
        "activation_checkpointing": recipe.recompute,
        "gradient_checkpointing": recipe.recompute,
        "max_length": recipe.max_length,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "logging_nan_inf_filter": False,
        "dataloader_pin_memory": cuda,
    }


def _sft_arguments(recipe: Recipe, common: dict[str, Any]) -> Any:
    return SFTConfig(packing=getattr(recipe, "packing", False), **common)


def _dpo_arguments(recipe: Recipe, common: dict[str, Any]) -> Any:
    assert isinstance(recipe, DpoRecipe)
    return DPOConfig(
        beta=recipe.beta, loss_type=[recipe.loss], label_smoothing=recipe.label_smoothing, **common
    )


def _finish(task: TrainTask, loaded: weights.Loaded, trainer: Any, context: JobContext) -> None:
    parameters = weights.save(loaded, trainer.accelerator.unwrap_model(trainer.model), task.output)
    result = {
        "path": str(task.output),
        "kind": "adapter" if task.recipe.method == "lora" else "merged",
        "parameters": parameters,
        "steps": trainer.state.global_step,
        "seconds": trainer.meter.seconds,
        "tokens": trainer.meter.tokens,
    }
    write_json(task.directory / RESULT, result)
    context.result(result)


def _record_usage(task: TrainTask) -> None:
    before = read_json(task.usage) or {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    cuda = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    write_json(
        task.usage,
        {
            "peak_memory_bytes": max(peak, before.get("peak_memory_bytes", 0)),
            "peak_cuda_bytes": max(cuda, before.get("peak_cuda_bytes", 0)),
        },
    )
