"""A recipe in LLaMA-Factory's own settings (version 0.9.5), and what it cannot do.

Its names are read from its own argument classes; what stands here under none of its names is refused by
``refusals`` instead of being dropped. Its chat template is the model's own: where ``template`` is not given
it takes the tokeniser's apart and renders by that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.training.engines.external.order import EVALUATION, TRAIN, Order, common_refusals
from studio.training.recipes import CptRecipe, DpoRecipe, KtoRecipe, Recipe, RewardRecipe, SftRecipe
from studio.training.records import Stage

TITLE = "LLaMA-Factory"
#: The descriptions of the data files, where it looks for them.
DESCRIPTIONS = "dataset_info.json"
_STAGES = {Stage.CPT: "pt", Stage.SFT: "sft", Stage.DPO: "dpo", Stage.KTO: "kto"}
_ATTENTION = {"auto": "auto", "sdpa": "sdpa", "eager": "disabled", "flash": "fa2"}
_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
    "observation_tag": "tool",
}


def refusals(recipe: Recipe, adapter: Path | None = None) -> Iterator[str]:
    """What it cannot do of a recipe, a line each that opens with the field.

    Args:
        recipe: The recipe.
        adapter: The folder of the adapter that the run goes on from.
    """
    if isinstance(recipe, RewardRecipe):
        yield (
            "stage: LLaMA-Factory keeps the head of a reward model in a file of its own that nothing here "
            "serves; take engine: trl."
        )
    if isinstance(recipe, DpoRecipe) and recipe.loss == "robust":
        yield "loss: LLaMA-Factory has no robust loss; take sigmoid with label_smoothing, or engine: trl."
    if recipe.method == "qlora" and recipe.lora.dora:
        yield "lora.dora: LLaMA-Factory has no DoRA over 4-bit weights; give false, or take engine: trl."
    if isinstance(recipe, CptRecipe) and not recipe.packing:
        yield (
            "packing: without it LLaMA-Factory drops what of a text is longer than max_length, where the "
            "studio goes on in a next piece; give true, or take engine: trl."
        )
    yield from common_refusals(TITLE, recipe, adapter)


def settings(order: Order) -> dict[str, Any]:
    """What goes into its YAML file."""
    return {
        "stage": _STAGES[order.recipe.STAGE],
        **_model(order),
        **_data(order),
        **_optimisation(order),
        **_evaluation(order),
        **_of_stage(order),
        **_reports(order),
    }


def descriptions(order: Order) -> dict[str, Any]:
    """What goes into ``dataset_info.json`` beside the data files."""
    described = _DESCRIBED[order.recipe.STAGE]
    files = {"train": TRAIN, "evaluation": EVALUATION} if order.evaluates else {"train": TRAIN}
    return {name: {"file_name": file, **described} for name, file in files.items()}


_MESSAGES: dict[str, Any] = {"formatting": "sharegpt", "tags": _TAGS}
_DESCRIBED: dict[Stage, dict[str, Any]] = {
    Stage.CPT: {"columns": {"prompt": "text"}},
    Stage.SFT: {**_MESSAGES, "columns": {"messages": "messages"}},
    Stage.DPO: {
        **_MESSAGES,
        "ranking": True,
        "columns": {"messages": "messages", "chosen": "chosen", "rejected": "rejected"},
    },
    Stage.KTO: {**_MESSAGES, "columns": {"messages": "messages", "kto_tag": "label"}},
}


def _model(order: Order) -> dict[str, Any]:
    recipe = order.recipe
    found: dict[str, Any] = {
        "model_name_or_path": str(order.base),
        "trust_remote_code": False,
        "flash_attn": _ATTENTION[recipe.attention],
        "finetuning_type": "lora" if recipe.adapts else "full",
    }
    if not recipe.adapts:
        return found
    if recipe.method == "qlora":
        found |= {
            "quantization_method": "bnb",
            "quantization_bit": 4,
            "quantization_type": "nf4",
            "double_quantization": True,
        }
    lora = recipe.lora
    found |= {
        "lora_rank": lora.r,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "lora_target": "all" if lora.targets == "all-linear" else "q_proj,k_proj,v_proj,o_proj",
        "use_dora": lora.dora,
    }
    if lora.plus_ratio != 1.0:
        found["loraplus_lr_ratio"] = lora.plus_ratio
    if order.adapter is not None:
        found |= {"adapter_name_or_path": str(order.adapter), "create_new_adapter": False}
    return found


def _data(order: Order) -> dict[str, Any]:
    found: dict[str, Any] = {
        "dataset_dir": str(order.data),
        "dataset": "train",
        "cutoff_len": order.recipe.max_length,
        "overwrite_cache": True,
    }
    return found | ({"eval_dataset": "evaluation"} if order.evaluates else {})


def _optimisation(order: Order) -> dict[str, Any]:
    recipe = order.recipe
    return {
        "do_train": True,
        "num_train_epochs": order.epochs,
        "max_steps": recipe.max_steps,
        "per_device_train_batch_size": recipe.batch_size,
        "per_device_eval_batch_size": recipe.batch_size * 2,
        "gradient_accumulation_steps": recipe.gradient_accumulation,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.scheduler,
        "warmup_steps": order.warm_up,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "seed": recipe.seed,
        "bf16": order.precision == "bf16",
        "fp16": order.precision == "fp16",
        "use_cpu": not order.gpu,
        "disable_gradient_checkpointing": not recipe.recompute,
    }


def _evaluation(order: Order) -> dict[str, Any]:
    recipe = order.recipe
    if not order.evaluates:
        return {"do_eval": False, "eval_strategy": "no"}
    found: dict[str, Any] = {
        "do_eval": True,
        "eval_on_start": order.checkpoint is None,
        "eval_strategy": "steps" if recipe.eval_every else "no",
    }
    return found | ({"eval_steps": recipe.eval_every} if recipe.eval_every else {})


def _of_stage(order: Order) -> dict[str, Any]:
    recipe = order.recipe
    found: dict[str, Any] = {}
    if isinstance(recipe, (CptRecipe, SftRecipe)):
        found["packing"] = recipe.packing
        if recipe.neftune_alpha:
            found["neftune_noise_alpha"] = recipe.neftune_alpha
    if isinstance(recipe, SftRecipe):
        # Without the second one, rows in one sequence would see each other.
        found |= {"neat_packing": recipe.packing, "train_on_prompt": not recipe.assistant_only}
    if isinstance(recipe, DpoRecipe):
        found |= {
            "pref_beta": recipe.beta,
            "pref_loss": recipe.loss,
            "dpo_label_smoothing": recipe.label_smoothing,
        }
    if isinstance(recipe, KtoRecipe):
        found |= {
            "pref_beta": recipe.beta,
            "kto_chosen_weight": recipe.desirable_weight,
            "kto_rejected_weight": recipe.undesirable_weight,
        }
    if isinstance(recipe, (DpoRecipe, KtoRecipe)) and order.adapter is not None:
        # The reference is what the run goes on from; left to itself it would take the bare base.
        found |= {"ref_model": str(order.base), "ref_model_adapters": str(order.adapter)}
        if recipe.method == "qlora":
            found["ref_model_quantization_bit"] = 4
    return found


def _reports(order: Order) -> dict[str, Any]:
    recipe = order.recipe
    found: dict[str, Any] = {
        "output_dir": str(order.output),
        "logging_steps": recipe.log_every,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "include_num_input_tokens_seen": "non_padding",
        "report_to": "tensorboard",
        "disable_tqdm": True,
        "save_strategy": "steps",
        "save_steps": recipe.save_every,
        # They are taken over as they come; this many may lie there until then.
        "save_total_limit": recipe.keep_checkpoints + 1,
        # On SIGTERM it saves at the next step and ends.
        "enable_jit_checkpoint": True,
    }
    if order.checkpoint is not None:
        found["resume_from_checkpoint"] = str(order.checkpoint)
    return found
