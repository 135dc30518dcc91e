"""Models in and out of files: the base, the adapter a run goes on from, and what it leaves.

The base's weights stay frozen under an adapter, in bfloat16 where they are stored so; what is trained is
always kept in float32, because a step of 1e-4 is lost in bfloat16's eight bits. Full fine-tuning
therefore loads the whole model in float32 and writes it back in the precision it came in.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from studio.training.recipes import Recipe
from studio.training.task import TrainTask

_ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
_LOW = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Loaded:
    """A model ready to be trained, its tokeniser, and whether its arithmetic runs in bfloat16."""

    model: Any
    tokenizer: Any
    half: bool
    stored: torch.dtype


def load(task: TrainTask) -> Loaded:
    """Load the task's base with a fresh adapter, with a copy of the one it goes on from, or whole."""
    recipe = task.recipe
    tokenizer = AutoTokenizer.from_pretrained(task.base, local_files_only=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    stored = _stored_type(task.base)
    half = recipe.dtype == "bf16" or (recipe.dtype == "auto" and stored in _LOW)
    kept = torch.bfloat16 if half and recipe.method == "lora" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(task.base, dtype=kept, local_files_only=True)
    model.config.use_cache = False
    if recipe.method == "lora":
        torch.manual_seed(recipe.seed)
        model = _with_adapter(model, task)
        _skip_casts(model)
    return Loaded(model, tokenizer, half, stored)


def save(loaded: Loaded, model: Any, path: Path) -> int:
    """Write what was trained to ``path``; returns the number of its parameters."""
    if isinstance(model, PeftModel):
        model.save_pretrained(path)
        return sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
    # Off while it was trained; whoever serves it wants it on.
    model.config.use_cache = True
    model.to(loaded.stored).save_pretrained(path)
    loaded.tokenizer.save_pretrained(path)
    return int(model.num_parameters())


def _stored_type(base: Path) -> torch.dtype:
    stored = AutoConfig.from_pretrained(base, local_files_only=True).dtype
    return stored if isinstance(stored, torch.dtype) else torch.float32


def _with_adapter(model: Any, task: TrainTask) -> Any:
    if task.adapter is not None:
        adapted = PeftModel.from_pretrained(model, str(task.adapter), is_trainable=True)
        _set_dropout(adapted, task.recipe.lora.dropout)
        return adapted
    return get_peft_model(model, _lora(task.recipe))


def _lora(recipe: Recipe) -> LoraConfig:
    lora = recipe.lora
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear" if lora.targets == "all-linear" else _ATTENTION,
        task_type="CAUSAL_LM",
    )


def _set_dropout(model: Any, share: float) -> None:
    for name, module in model.named_modules():
        if "lora_dropout." in name and isinstance(module, torch.nn.Dropout):
            module.p = share


def _skip_casts(model: Any) -> None:
    # peft casts each adapter's input to float32, and autocast casts it straight back to bfloat16.
    # Measured on 2 cores with the embedded model: 391 tokens/s with the two casts, 441 without.
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False
