"""The shape of a model, read from ``config.json`` and the headers of its safetensors files.

Only headers are read, so the shape of a model of any size is known in milliseconds and without torch. What
the headers say (how many parameters, in which precision, which matrices) goes before what the
configuration says; without any header the usual decoder is assumed. A model of another build than a
transformer decoder gives a rough shape, not an error.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core import InvalidInput, read_json

#: A longer header is no header; the largest models have a few MB.
_LONGEST_HEADER = 100 << 20
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_IN_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.\d+\.(?:.*\.)?([A-Za-z0-9_]+)\.weight$")
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True)
class Linear:
    """A matrix that every layer has: its name, its sides, and how many layers have it."""

    name: str
    inputs: int
    outputs: int
    count: int

    @property
    def parameters(self) -> int:
        """The parameters of all of them."""
        return self.inputs * self.outputs * self.count


@dataclass(frozen=True)
class ModelShape:
    """What of a model decides how much memory its training takes; lengths count numbers, not bytes.

    ``stored_bytes`` is the precision of its files in bytes a parameter. ``special_head`` says that its
    head does more than one matrix product, so that our sparse head is not used; ``plain_body`` that its
    layers are those of Llama, which our worker calls in a leaner way on the CPU.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    tied: bool
    stored_bytes: int
    parameters: int
    linears: tuple[Linear, ...]
    special_head: bool = False
    plain_body: bool = False

    @property
    def query(self) -> int:
        """Numbers that one token's queries have, all heads together."""
        return self.heads * self.head_size

    @property
    def keys(self) -> int:
        """Numbers that one token's keys have, all heads together."""
        return self.kv_heads * self.head_size

    @property
    def in_linears(self) -> int:
        """Parameters in the layers' matrices: what four-bit loading packs."""
        return sum(linear.parameters for linear in self.linears)

    @property
    def embedding(self) -> int:
        """Parameters of one embedding table."""
        return self.vocabulary * self.hidden

    def adapted(self, targets: str) -> tuple[Linear, ...]:
        """The matrices that get an adapter."""
        if targets == "all-linear":
            return self.linears
        return tuple(linear for linear in self.linears if linear.name in _ATTENTION)


@dataclass(frozen=True)
class AdapterShape:
    """An adapter that a run goes on from: its rank and the number of its parameters."""

    r: int
    parameters: int


def read_shape(base: Path) -> ModelShape:
    """The shape of the model in the folder ``base``.

    Raises:
        InvalidInput: The folder has no configuration of a language model.
    """
    config = read_json(base / "config.json")
    if not isinstance(config, dict):
        raise InvalidInput("The model's config.json cannot be read.", "Import the model again.")
    text = config.get("text_config")
    return shape_of({**config, **text} if isinstance(text, dict) else config, headers(base))


def read_adapter(folder: Path) -> AdapterShape | None:
    """The shape of the adapter in ``folder``, or None where there is none that can be read."""
    config = read_json(folder / "adapter_config.json")
    if not isinstance(config, dict):
        return None
    tensors = headers(folder)
    return AdapterShape(int(config.get("r") or 8), sum(math.prod(shape) for _, shape in tensors.values()))


def shape_of(config: dict[str, Any], tensors: dict[str, tuple[str, tuple[int, ...]]]) -> ModelShape:
    """The shape that a configuration and the tensors of the files (precision and sides by name) describe.

    Raises:
        InvalidInput: The configuration names no hidden size, layers or vocabulary.
    """
    hidden = _number(config, "hidden_size", "n_embd", "d_model")
    layers = _number(config, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
    vocabulary = _number(config, "vocab_size")
    if not (hidden and layers and vocabulary):
        raise InvalidInput(
            "The model's config.json does not say how large it is.",
            "Take a model of the transformers library; its hidden_size, num_hidden_layers and vocab_size "
            "are needed.",
        )
    heads = _number(config, "num_attention_heads", "n_head", "n_heads") or max(hidden // 64, 1)
    kv_heads = _number(config, "num_key_value_heads") or heads
    head_size = _number(config, "head_dim") or hidden // heads
    intermediate = _number(config, "intermediate_size", "n_inner", "ffn_dim") or 4 * hidden
    linears = _linears(tensors) or _usual(
        hidden, layers, heads * head_size, kv_heads * head_size, intermediate
    )
    tied = "lm_head.weight" not in tensors if tensors else bool(config.get("tie_word_embeddings", False))
    return ModelShape(
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        intermediate=intermediate,
        vocabulary=vocabulary,
        tied=tied,
        stored_bytes=_precision(config, tensors),
        parameters=_parameters(tensors) or _supposed(hidden, layers, vocabulary, linears, tied),
        linears=linears,
        special_head=_special_head(config),
        plain_body=_plain_body(config),
    )


def headers(folder: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Precision and sides of each tensor in a folder's safetensors files; damaged files give none."""
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= dict(_header(path))
    return found


def _header(path: Path) -> Iterator[tuple[str, tuple[str, tuple[int, ...]]]]:
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if not 2 <= length <= _LONGEST_HEADER:
            return
        try:
            content = json.loads(handle.read(length))
        except ValueError:
            return
    for name, tensor in content.items() if isinstance(content, dict) else ():
        if name != "__metadata__" and isinstance(tensor, dict):
            yield name, (str(tensor.get("dtype")), tuple(int(side) for side in tensor.get("shape", ())))


def _linears(tensors: dict[str, tuple[str, tuple[int, ...]]]) -> tuple[Linear, ...]:
    """The matrices inside the layers, equal ones counted."""
    sides: Counter[tuple[str, int, int]] = Counter()
    for name, (_, shape) in tensors.items():
        inside = _IN_LAYER.search(name)
        if inside and len(shape) == 2:
            sides[(inside[1], shape[1], shape[0])] += 1
    return tuple(Linear(name, inputs, outputs, count) for (name, inputs, outputs), count in sides.items())


def _usual(hidden: int, layers: int, query: int, keys: int, intermediate: int) -> tuple[Linear, ...]:
    """The matrices of a Llama-like decoder."""
    return (
        Linear("q_proj", hidden, query, layers),
        Linear("k_proj", hidden, keys, layers),
        Linear("v_proj", hidden, keys, layers),
        Linear("o_proj", query, hidden, layers),
        Linear("gate_proj", hidden, intermediate, layers),
        Linear("up_proj", hidden, intermediate, layers),
        Linear("down_proj", intermediate, hidden, layers),
    )


def _parameters(tensors: dict[str, tuple[str, tuple[int, ...]]]) -> int:
    return sum(math.prod(shape) for _, shape in tensors.values())


def _supposed(hidden: int, layers: int, vocabulary: int, linears: tuple[Linear, ...], tied: bool) -> int:
    tables = vocabulary * hidden * (1 if tied else 2)
    return sum(linear.parameters for linear in linears) + tables + (2 * layers + 1) * hidden


def _precision(config: dict[str, Any], tensors: dict[str, tuple[str, tuple[int, ...]]]) -> int:
    """Bytes of one parameter as it is stored; of what most of the tensors have."""
    sizes: Counter[int] = Counter()
    for kind, shape in tensors.values():
        sizes[_BYTES.get(kind, 4)] += math.prod(shape)
    if sizes:
        return sizes.most_common(1)[0][0]
    named = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    return 2 if named.endswith(("bfloat16", "float16", "half")) else 4


def _special_head(config: dict[str, Any]) -> bool:
    """As ``engines.head.can_score``, which is asked of the loaded model."""
    names = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
    changed = any(config.get(name) not in (None, 1, 1.0) for name in names)
    return changed or config.get("output_multiplier") is not None


def _plain_body(config: dict[str, Any]) -> bool:
    """As ``engines.body`` decides, which is asked of the loaded model."""
    windowed = "sliding_attention" in (config.get("layer_types") or ())
    windowed |= config.get("model_type") == "mistral" and config.get("sliding_window") is not None
    known = config.get("model_type") in ("llama", "mistral", "qwen2", "qwen3")
    return known and not windowed and config.get("hidden_act", "silu") == "silu"


def _number(config: dict[str, Any], *names: str) -> int:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0
