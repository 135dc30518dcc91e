"""Looks at what a training left, in a process that has torch; called by ``drive``."""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import SFTConfig

from studio.training.engines.arguments import read_parallel
from studio.training.rendering import render_answer_ids

Turns = list[dict[str, str]]


def answer_loss(base: str, adapter: str | None, prompt: Turns, answer: Turns) -> float:
    """The mean loss of an answer by the plain base in float32, with an adapter or without."""
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    asked, said = render_answer_ids(tokenizer, prompt, answer)
    ids = torch.tensor([asked + said])
    labels = torch.tensor([[-100] * len(asked) + said])
    with torch.no_grad():
        return float(model.eval()(input_ids=ids, labels=labels).loss)


def scores(base: str, adapter: str | None, prompt: Turns, answers: list[Turns]) -> list[float]:
    """What a reward model gives each answer; without an adapter ``base`` is one itself."""
    options: dict[str, Any] = {"dtype": torch.float32, "local_files_only": True}
    model: Any = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, **options)
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    found = []
    for answer in answers:
        asked, said = render_answer_ids(tokenizer, prompt, answer)
        with torch.no_grad():
            found.append(float(model.eval()(input_ids=torch.tensor([asked + said])).logits[0, 0]))
    return found


def damage(base: str, target: str) -> None:
    """A copy of a model in which one weight is no number."""
    model = AutoModelForCausalLM.from_pretrained(base, local_files_only=True)
    model.get_input_embeddings().weight.data[5:400, 0] = float("nan")
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(base, local_files_only=True).save_pretrained(target)


def sharded_settings(target: str) -> list[Any]:
    """What transformers and accelerate make of the settings in configs/parallel.

    deepspeed itself is not installed: its settings are read by accelerate's reader of them, no further.
    """
    arguments = SFTConfig(output_dir=target, use_cpu=True, fsdp=True, fsdp_config=read_parallel("fsdp"))
    options = arguments._process_fsdp_args()
    plugin = FullyShardedDataParallelPlugin(**options)
    deep = HfDeepSpeedConfig(read_parallel("deepspeed"))
    return [plugin.fsdp_version, options["auto_wrap_policy"], plugin.reshard_after_forward, deep._stage]


def leave_it_to_trl() -> bool:
    """From now on this process trains with nothing of ours that makes it fast."""
    from studio.training.engines import speed

    speed.speed_up = lambda *_: None
    return True
