"""A recipe in Axolotl's own settings (version 0.19), and what it cannot do.

Its names are read from its own schema, which refuses nothing that it does not know; ``strict`` is set, and a
test holds every name against the schema. What it runs on is mostly GPUs: its fused kernels are turned
off where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.training.engines.external.order import EVALUATION, TRAIN, Order, common_refusals
from studio.training.recipes import CptRecipe, DpoRecipe, Recipe, SftRecipe
from studio.training.records import Stage

TITLE = "Axolotl"
#: Made in its output folder, this file has it save at the end of the step.
SAVE_NOW = "axolotl_checkpoint.save"
_ATTENTION = {"sdpa": "sdpa", "eager": "eager", "flash": "flash_attention_2"}
_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel")


def refusals(recipe: Recipe, adapter: Path | None = None) -> Iterator[str]:
    """What it cannot do of a recipe, a line each that opens with the field.

    Args:
        recipe: The recipe.
        adapter: The folder of the adapter that the run goes on from.
    """
    if recipe.STAGE is Stage.KTO:
        yield "stage: Axolotl renders KTO's rows by templates of its own, not the model's; take engine: trl."
    if recipe.STAGE is Stage.REWARD:
        yield "stage: reward models are not translated for Axolotl; take engine: trl."
    if isinstance(recipe, (CptRecipe, SftRecipe)) and recipe.packing and recipe.attention != "flash":
        yield (
            "packing: Axolotl keeps rows in one sequence apart only with attention: flash; give that (it "
            "needs a GPU), or packing: false."
        )
    if isinstance(recipe, DpoRecipe) and adapter is not None:
        yield (
            "model: Axolotl would measure from the bare base and not from the adapter that the run goes on "
            "from; take engine: trl."
        )
    yield from common_refusals(TITLE, recipe, adapter)


def settings(order: Order) -> dict[str, Any]:
    """What goes into its YAML file."""
    return {
        "strict": True,
        **_model(order),
        **_data(order),
        **_optimisation(order),
        **_evaluation(order),
        **_of_stage(order),
        **_reports(order),
    }


def _model(order: Order) -> dict[str, Any]:
    recipe = order.recipe
    # Without a GPU it refuses bf16.
    precision = order.precision if order.gpu or recipe.dtype != "auto" else "fp32"
    found: dict[str, Any] = {
        "base_model": str(order.base),
        "trust_remote_code": False,
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "tf32": False,
        "attn_implementation": _ATTENTION.get(recipe.attention, "sdpa"),
        "gradient_checkpointing": recipe.recompute,
    }
    if not recipe.adapts:
        return found
    lora = recipe.lora
    found |= {
        "adapter": recipe.method,
        "load_in_4bit": recipe.method == "qlora",
        "lora_r": lora.r,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "peft_use_dora": lora.dora,
    }
    if lora.targets == "all-linear":
        found["lora_target_linear"] = True
    else:
        found["lora_target_modules"] = ["q_proj", "k_proj", "v_proj", "o_proj"]
    if lora.plus_ratio != 1.0:
        found["loraplus_lr_ratio"] = lora.plus_ratio
    if order.adapter is not None:
        found["lora_model_dir"] = str(order.adapter)
    if not order.gpu:
        found |= dict.fromkeys(_KERNELS, False)
    return found


def _data(order: Order) -> dict[str, Any]:
    found: dict[str, Any] = {
        "datasets": [_dataset(order, TRAIN)],
        "dataset_prepared_path": str(order.data / "prepared"),
        "sequence_len": order.recipe.max_length,
        "shuffle_merged_datasets": True,
        "val_set_size": 0.0,
        "pad_to_sequence_len": False,
        "chat_template": "tokenizer_default",
    }
    if order.evaluates:
        found["test_datasets"] = [_dataset(order, EVALUATION)]
    return found


def _dataset(order: Order, file: str) -> dict[str, Any]:
    described = {"path": str(order.data / file), "split": "train"}
    recipe = order.recipe
    if isinstance(recipe, CptRecipe):
        return {**described, "ds_type": "json", "type": "completion", "field": "text"}
    if isinstance(recipe, SftRecipe):
        return {
            **described,
            "ds_type": "json",
            "type": "chat_template",
            "field_messages": "messages",
            "roles_to_train": ["assistant"],
            "train_on_eos": "turn",
        }
    return {
        **described,
        "type": "chat_template.default",
        "field_messages": "messages",
        "field_chosen": "chosen",
        "field_rejected": "rejected",
    }


def _optimisation(order: Order) -> dict[str, Any]:
    recipe = order.recipe
    found: dict[str, Any] = {
        "num_epochs": order.epochs,
        "micro_batch_size": recipe.batch_size,
        "eval_batch_size": recipe.batch_size * 2,
        "gradient_accumulation_steps": recipe.gradient_accumulation,
        "optimizer": "adamw_torch_fused",
        "learning_rate": recipe.learning_rate,
        "lr_scheduler": recipe.scheduler,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "seed": recipe.seed,
    }
    found |= {"warmup_ratio": order.warm_up} if order.warm_up else {"warmup_steps": 0}
    return found | ({"max_steps": recipe.max_steps} if recipe.max_steps > 0 else {})


def _evaluation(order: Order) -> dict[str, Any]:
    recipe = order.recipe
    if not order.evaluates:
        return {}
    if not recipe.eval_every:
        # It evaluates before the first step too.
        return {"eval_strategy": "epoch"}
    return {"eval_steps": recipe.eval_every}


def _of_stage(order: Order) -> dict[str, Any]:
    recipe = order.recipe
    found: dict[str, Any] = {}
    if isinstance(recipe, (CptRecipe, SftRecipe)):
        found["sample_packing"] = recipe.packing
        if recipe.packing:
            found["eval_sample_packing"] = False
        if recipe.neftune_alpha:
            found["neftune_noise_alpha"] = recipe.neftune_alpha
    if isinstance(recipe, SftRecipe):
        found["train_on_inputs"] = not recipe.assistant_only
    if isinstance(recipe, DpoRecipe):
        found |= {
            "rl": "dpo",
            "rl_beta": recipe.beta,
            "dpo_loss_type": [recipe.loss],
            "dpo_label_smoothing": recipe.label_smoothing,
        }
    return found


def _reports(order: Order) -> dict[str, Any]:
    recipe = order.recipe
    found: dict[str, Any] = {
        "output_dir": str(order.output),
        "logging_steps": recipe.log_every,
        "include_tokens_per_second": True,
        "use_tensorboard": True,
        "save_steps": recipe.save_every,
        # They are taken over as they come; this many may lie there until then.
        "save_total_limit": recipe.keep_checkpoints + 1,
        "dynamic_checkpoint": {"enabled": True, "check_interval": 1},
    }
    if order.checkpoint is not None:
        found["resume_from_checkpoint"] = str(order.checkpoint)
    return found
