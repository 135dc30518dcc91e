"""A recipe in the words of the trainers' own settings."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from studio.core import InvalidInput
from studio.training.engines import ranks
from studio.training.engines.weights import Loaded
from studio.training.recipes import CONFIGS, Recipe
from studio.training.task import TrainTask

#: How the processes of a run share its weights, one file a way.
PARALLEL = CONFIGS / "parallel"


def common_arguments(task: TrainTask, loaded: Loaded, *, evaluate: bool) -> dict[str, Any]:
    """What every trainer is told; with ``evaluate`` it begins with an evaluation."""
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
        "neftune_noise_alpha": getattr(recipe, "neftune_alpha", 0.0) or None,
        "seed": recipe.seed,
        "bf16": loaded.half,
        "fp16": loaded.fp16,
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
        **parallel_arguments(recipe),
    }


def parallel_arguments(recipe: Recipe) -> dict[str, Any]:
    """How the processes of the run share its weights, in the trainers' words.

    Raises:
        InvalidInput: There are no GPUs, or the library that the recipe asks for is not installed.
    """
    if recipe.parallel == "ddp":
        # Every trained weight is used in every step, so none has to be looked for.
        return {"ddp_find_unused_parameters": False} if ranks.world() > 1 else {}
    if not torch.cuda.is_available():
        # accelerate would quietly give every process the whole model.
        raise InvalidInput(
            f"parallel: {recipe.parallel} needs GPUs, and there is none here.", "Take parallel: ddp."
        )
    settings = read_parallel(recipe.parallel)
    if recipe.parallel == "fsdp":
        # FSDP gathers weights once for both passes only if it does the recomputing itself.
        settings["activation_checkpointing"] = recipe.recompute
        return {
            "fsdp": True,
            "fsdp_config": settings,
            "activation_checkpointing": False,
            "gradient_checkpointing": False,
        }
    if find_spec("deepspeed") is None:
        raise InvalidInput(
            "parallel: deepspeed needs the package deepspeed, which is not installed.",
            "Install it beside the studio, or take parallel: fsdp or ddp.",
        )
    return {"deepspeed": settings}


def read_parallel(name: str) -> dict[str, Any]:
    """The settings in ``configs/parallel/<name>.yaml``, as the library of that name takes them."""
    from ruamel.yaml import YAML

    path: Path = PARALLEL / f"{name}.yaml"
    values: dict[str, Any] = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    return values
