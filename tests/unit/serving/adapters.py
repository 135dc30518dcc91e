"""Random LoRA adapters of a tiny model, and what plain transformers and peft answer with them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

NAMES = ("first", "second")

PROMPTS = (
    "Write a random language model.",
    "What is a tokenizer, and why does a test need one that is small enough to be built in seconds?",
    "Hi",
)

# Plain peft and HF generate are the reference; torch stays out of the test process.
_SCRIPT = """
import json, sys, torch
from pathlib import Path
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from studio.training.rendering import render_prompt_ids

model_path, target, prompts = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
load = lambda: AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
adapters = [("first", "all-linear", 4), ("second", ["q_proj", "v_proj"], 8)]
for seed, (name, modules, rank) in enumerate(adapters):
    torch.manual_seed(seed + 1)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=modules, task_type="CAUSAL_LM")
    model = get_peft_model(load(), config)
    for key, value in model.named_parameters():
        if "lora_" in key:
            torch.nn.init.normal_(value.data, std=0.3)
    model.save_pretrained(target / name)
tokenizer = AutoTokenizer.from_pretrained(model_path)
answers = {}
for name in ("base", "first", "second"):
    model = load() if name == "base" else PeftModel.from_pretrained(load(), target / name)
    model.eval()
    for prompt in prompts:
        ids = torch.tensor([render_prompt_ids(tokenizer, [{"role": "user", "content": prompt}])])
        with torch.inference_mode():
            options = {"do_sample": False, "max_new_tokens": 40, "attention_mask": torch.ones_like(ids)}
            out = model.generate(input_ids=ids, **options)
        new = out[0, ids.shape[1]:].tolist()
        answers[f"{name}|{prompt}"] = [len(new), tokenizer.decode(new, skip_special_tokens=True)]
(target / "answers.json").write_text(json.dumps(answers))
"""


@dataclass(frozen=True)
class Reference:
    """Two adapters on disk, and the greedy fp32 answers of base and adapters: (tokens, text)."""

    directory: Path
    answers: dict[str, tuple[int, str]]

    def path(self, name: str) -> Path:
        return self.directory / name

    def answer(self, name: str | None, prompt: str) -> tuple[int, str]:
        tokens, text = self.answers[f"{name or 'base'}|{prompt}"]
        return tokens, text


def build_adapters(model: Path, directory: Path) -> Reference:
    """Write two adapters of ``model`` into ``directory`` and let peft answer with them."""
    directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", _SCRIPT, str(model), str(directory), json.dumps(PROMPTS)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3])
    return Reference(directory, json.loads((directory / "answers.json").read_text()))
