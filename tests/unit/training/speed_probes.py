"""Compares our way through a model with TRL's and with torch's, in a process that has torch.

``python -m tests.unit.training.speed_probes``: prints one JSON object, a number for each comparison.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from trl.trainer.utils import add_fused_lm_head

from studio.training.engines import body, crew, head, kernels

FAMILIES: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
VOCABULARY = 97
#: Short rows, one whose probabilities are computed again, one for the fused attention, one without labels.
LENGTHS = (9, 17, 16, 300, 530, 12)


def model(family: str, *, lora: bool, low: bool = False, **options: Any) -> Any:
    """A random model, always the same; with ``low`` its frozen weights are bfloat16."""
    torch.manual_seed(0)
    config, kind = FAMILIES[family]
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": None}
    made = kind(config(vocab_size=VOCABULARY, **shape, **heads, **options))
    if not lora:
        return made
    adapted = get_peft_model(
        made.to(torch.bfloat16) if low else made,
        LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return adapted


def batch(lengths: tuple[int, ...] = LENGTHS) -> dict[str, torch.Tensor]:
    """Rows padded on the right; the last one has nothing to learn, and some tail off without a label."""
    generator = torch.Generator().manual_seed(1)
    shape = (len(lengths), max(lengths))
    ids = torch.randint(1, VOCABULARY, shape, generator=generator)
    mask = (torch.arange(shape[1]) < torch.tensor(lengths)[:, None]).long()
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :4] = -100
    labels[1, 12:] = -100
    labels[-1] = -100
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": labels}


def base_of(made: Any) -> Any:
    return made.get_base_model() if hasattr(made, "get_base_model") else made


def fast(made: Any) -> Any:
    base = base_of(made)
    found = body.speed_up(base.base_model)
    assert found is not None
    head.score_only_labels(base, found)
    return made


def slow(made: Any) -> Any:
    add_fused_lm_head(base_of(made), outputs=("log_probs", "entropy", "is_top1"))
    return made


def step(made: Any, given: dict[str, torch.Tensor]) -> tuple[Any, dict[str, torch.Tensor]]:
    """The outputs, and the gradients of a sum in which every token has a weight of its own."""
    found = made(**given, fused_lm_head=True)
    weights = torch.linspace(-1, 1, found.log_probs.numel()).view(found.log_probs.shape)
    (found.log_probs * weights).sum().backward()
    return found, {name: p.grad for name, p in made.named_parameters() if p.grad is not None}


def apart(one: tuple[Any, Any], other: tuple[Any, Any]) -> float:
    """The largest difference of log-probabilities, and of gradients as a share of the largest one."""
    (ours, our_slopes), (theirs, their_slopes) = one, other
    assert our_slopes.keys() == their_slopes.keys()
    assert torch.equal(ours.is_top1, theirs.is_top1)
    assert torch.equal(ours.label_mask, theirs.label_mask)
    worst = float((ours.log_probs - theirs.log_probs).abs().max())
    for name, slope in our_slopes.items():
        worst = max(worst, float((slope - their_slopes[name]).abs().max() / their_slopes[name].abs().max()))
    return worst


def families() -> Iterator[tuple[str, float]]:
    for family in FAMILIES:
        for lora in (True, False):
            pair = (
                step(fast(model(family, lora=lora)), batch()),
                step(slow(model(family, lora=lora)), batch()),
            )
            yield f"{family}-{'lora' if lora else 'full'}", apart(*pair)


def special_ways() -> Iterator[tuple[str, float]]:
    """Recomputed activations; packed rows; how rows are shared out; an adapter that is switched off."""
    theirs = slow(model("llama", lora=True))
    ours = fast(model("llama", lora=True))
    for made in (ours, theirs):
        made.enable_input_require_grads()
        base_of(made).gradient_checkpointing_enable()
        made.train()
    yield "recomputed", apart(step(ours, batch()), step(theirs, batch()))
    packed = packed_batch((9, 17, 16))
    yield (
        "packed",
        apart(step(fast(model("llama", lora=True)), packed), step(slow(model("llama", lora=True)), packed)),
    )
    ours, theirs = fast(model("llama", lora=True)), slow(model("llama", lora=True))
    with torch.no_grad(), ours.disable_adapter(), theirs.disable_adapter():
        found = [made(**batch(), fused_lm_head=True).log_probs for made in (ours, theirs)]
    yield "parts", float(len(crew.parts(torch.tensor(LENGTHS))))
    yield "parts of one row", float(len(crew.parts(torch.tensor([500, 0]))))
    yield "uneven parts", float(len(crew.parts(torch.tensor([20, 500, 30]))))
    yield "switched off", float((found[0] - found[1]).abs().max())


def packed_batch(lengths: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Rows joined to one sequence, told apart by their positions."""
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    ids = torch.randint(1, VOCABULARY, positions.shape, generator=torch.Generator().manual_seed(2))
    return {"input_ids": ids, "position_ids": positions, "labels": ids.masked_fill(positions == 0, -100)}


@contextmanager
def without_kernels() -> Iterator[None]:
    kept, kernels.loaded = kernels.loaded, lambda: None
    try:
        yield
    finally:
        kernels.loaded = kept


def low_precision() -> Iterator[tuple[str, float]]:
    """How far bfloat16 gradients are from float32 ones: TRL's, ours in C, ours by torch."""
    exact = step(slow(model("qwen3", lora=True, low=True).float()), batch())[1]

    def distance(made: Any) -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            slopes = step(made, batch())[1]
        shares = [float((slopes[name] - exact[name]).norm() / exact[name].norm()) for name in exact]
        return sum(shares) / len(shares)

    yield "low-trl", distance(slow(model("qwen3", lora=True, low=True)))
    yield "low-ours", distance(fast(model("qwen3", lora=True, low=True)))
    with without_kernels():
        yield "low-torch", distance(fast(model("qwen3", lora=True, low=True)))
    yield "compiled", float(kernels.loaded() is not None)


def left_alone() -> Iterator[tuple[str, float]]:
    """Whether models that we do not know keep their own way (1.0)."""
    shape = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": VOCABULARY}
    yield "gpt2", float(body.speed_up(GPT2LMHeadModel(GPT2Config(**shape)).base_model) is None)
    windowed = MistralForCausalLM(
        MistralConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            sliding_window=8,
        )
    )
    yield "windowed", float(body.speed_up(windowed.base_model) is None)
    dropped = model("llama", lora=False, attention_dropout=0.1)
    yield "dropped", float(body.speed_up(dropped.base_model) is None)


if __name__ == "__main__":
    torch.set_num_threads(2)
    groups = (families(), special_ways(), low_precision(), left_alone())
    print(json.dumps({name: value for group in groups for name, value in group}))
