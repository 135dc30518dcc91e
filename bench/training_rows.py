"""The rows and the model of ``bench.training``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from studio.training import Stage, parse_recipe

_DATA = Path(__file__).resolve().parents[1] / "data"


@dataclass(frozen=True)
class Shape:
    """Weights of a model's linear layers: in the body, and in the head."""

    body: int
    head: int


@dataclass(frozen=True)
class Rows:
    """The same rows as Parquet files for the studio and as tokens for the others; ``no_file`` has none."""

    train: list[dict[str, list[int]]]
    validation: list[dict[str, list[int]]]
    messages: list[dict[str, object]]
    train_file: Path
    no_file: Path
    shape: Shape

    @property
    def mean_length(self) -> int:
        """Tokens of a row on average."""
        return round(sum(len(row["input_ids"]) for row in self.train) / len(self.train))

    @property
    def label_share(self) -> float:
        """Share of the tokens that are learnt."""
        tokens = sum(len(row["labels"]) for row in self.train)
        return sum(label != -100 for row in self.train for label in row["labels"]) / tokens


def embedded_model(folder: Path) -> Path:
    """The embedded model's folder, converted below ``folder``."""
    from studio.registry.embedded_job import convert

    scratch = folder / "scratch"
    scratch.mkdir()
    convert(folder / "base", scratch, lambda *_: None)
    return folder / "base"


def make_rows(base: Path, folder: Path) -> Rows:
    """The project's own instructions, as every contender gets them."""
    from transformers import AutoTokenizer

    from studio.training.engines.rows import tokenise

    tokenizer = AutoTokenizer.from_pretrained(base)
    recipe = parse_recipe(Stage.SFT, "model: m\ndataset: d\nmax_length: 1024\n")
    train, validation = _read("instructions"), _read("instructions_eval")
    files = folder / "train.parquet", folder / "none.parquet"
    table = pa.Table.from_pylist(train)
    pq.write_table(table, files[0])
    pq.write_table(table.slice(0, 0), files[1])
    return Rows(
        tokenise(tokenizer, train, recipe).rows,
        tokenise(tokenizer, validation, recipe).rows,
        train,
        *files,
        _shape(base),
    )


def _read(name: str) -> list[dict[str, object]]:
    text = (_DATA / f"{name}.jsonl").read_text(encoding="utf-8")
    return [{"messages": json.loads(line)["messages"]} for line in text.splitlines()]


def _shape(base: Path) -> Shape:
    config = json.loads((base / "config.json").read_text())
    hidden, inner, heads = (config[k] for k in ("hidden_size", "intermediate_size", "num_attention_heads"))
    size = config.get("head_dim") or hidden // heads
    attention = 2 * hidden * size * (heads + config["num_key_value_heads"])
    layer = attention + 3 * hidden * inner
    return Shape(layer * config["num_hidden_layers"], hidden * config["vocab_size"])
