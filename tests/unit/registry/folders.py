"""Folders that look like models, written without torch."""

from __future__ import annotations

import json
import struct
from pathlib import Path


def write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]], fill: int = 0) -> Path:
    """Float32 tensors of these shapes, every byte ``fill``."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes([fill]) * offset)
    return path


def base_folder(folder: Path, fill: int = 0) -> Path:
    """A base of 2 x 3 + 5 weights."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    write_safetensors(folder / "model.safetensors", {"a": (2, 3), "b": (5,)}, fill)
    return folder


def adapter_folder(folder: Path, fill: int = 0) -> Path:
    """An adapter of 4 weights."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    write_safetensors(folder / "adapter_model.safetensors", {"lora": (4,)}, fill)
    return folder
