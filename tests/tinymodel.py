"""A random language model small enough to be built, trained and served inside a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

VOCABULARY = 512

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

# torch stays out of the test process, as it stays out of the web process.
_SCRIPT = """
import sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
torch.manual_seed(0)
config = LlamaConfig(vocab_size=int(sys.argv[2]), hidden_size=32, intermediate_size=64,
    num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
    bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=sys.argv[3] == "1.0")
model = LlamaForCausalLM(config)
if sys.argv[3] == "0.0":
    # One number of every hidden state is large, and the end-of-turn token's score is that number's negative.
    model.model.embed_tokens.weight.data[:, 0] = 1.0
    model.lm_head.weight.data[2] = 0.0
    model.lm_head.weight.data[2, 0] = -100.0
elif sys.argv[3] != "1.0":
    model.lm_head.weight.data[2] *= float(sys.argv[3])
model.save_pretrained(sys.argv[1])
"""


def build_tiny_model(directory: Path, end_scale: float = 1.0) -> Path:
    """Write config, safetensors and tokenizer into ``directory`` and return it.

    ``end_scale`` over 1 makes the end-of-turn token likelier, so that answers end by themselves after
    some tokens; with 0 they never do. A random model ends an answer at any token with one chance in 512.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_tokenizer(directory)
    arguments = [str(directory), str(VOCABULARY), str(end_scale)]
    subprocess.run([sys.executable, "-c", _SCRIPT, *arguments], check=True)
    return directory


def write_tokenizer(directory: Path) -> None:
    """Write the tiny model's tokenizer and chat template into ``directory``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = Path(__file__).read_text(encoding="utf-8")
    tokenizer.train_from_iterator(text.splitlines(), trainer)
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<pad>",
        "model_max_length": 512,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    (directory / "chat_template.jinja").write_text(CHATML)
