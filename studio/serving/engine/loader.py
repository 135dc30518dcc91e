"""Reads a base model: safetensors only, never code from the model's folder, nothing from the network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer

from studio.core import StudioError
from studio.serving.engine.errors import Refusal
from studio.serving.records import ChatMessage
from studio.training.rendering import render_prompt_ids

#: End-of-turn tokens that chat models use and that some forget to list in their generation config.
_END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>")
_DEFAULT_CONTEXT = 2048
_DTYPES = {"auto": torch.bfloat16, "bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt."""

    ids: list[int]
    digest: str


@dataclass(frozen=True)
class Base:
    """A model with its tokeniser; ``context`` is how many tokens prompt and answer may have together."""

    model: Any
    tokenizer: Any
    context: int
    stop_ids: frozenset[int]
    template_digest: str

    def render(self, messages: Sequence[ChatMessage]) -> Prompt:
        """The prompt's tokens.

        Raises:
            Refusal: The chat template does not take these messages.
        """
        try:
            ids = render_prompt_ids(self.tokenizer, [message.model_dump() for message in messages])
        except (TemplateError, StudioError) as error:
            raise Refusal(
                400, "bad_messages", f"The model's chat template refuses these messages: {error}"
            ) from error
        if not ids:
            raise Refusal(400, "bad_messages", "The prompt is empty.", "Send at least one message with text.")
        return Prompt(ids, hashlib.sha256(b"".join(i.to_bytes(4, "big") for i in ids)).hexdigest())

    def bytes_per_token(self) -> int:
        """What one token of one row occupies in the cache."""
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        total: int = 2 * config.num_hidden_layers * heads * size * self.model.dtype.itemsize
        return total


def load_base(path: Path, dtype: str) -> Base:
    """Load the model in ``path`` onto the GPU if there is one, else the CPU.

    Args:
        path: A folder with config, safetensors and tokeniser.
        dtype: auto (bfloat16), bf16 or fp32.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(path, **options)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=_DTYPES[dtype], use_safetensors=True, **options)
    model.to(device).eval().requires_grad_(requires_grad=False)
    config = model.config.get_text_config()
    template = tokenizer.chat_template or ""
    return Base(
        model=model,
        tokenizer=tokenizer,
        context=getattr(config, "max_position_embeddings", None) or _DEFAULT_CONTEXT,
        stop_ids=_stop_ids(model, tokenizer),
        template_digest=hashlib.sha256(str(template).encode()).hexdigest(),
    )


def _stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    listed = model.generation_config.eos_token_id
    ids = set(listed if isinstance(listed, list) else [listed])
    ids.add(tokenizer.eos_token_id)
    vocabulary = tokenizer.get_vocab()
    special = set(tokenizer.all_special_ids)
    ids |= {vocabulary[t] for t in _END_OF_TURN if t in vocabulary and vocabulary[t] in special}
    return frozenset(ids - {None})
