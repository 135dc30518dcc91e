"""The tiny model's tokeniser without transformers: the same text, tokens and special ids, in milliseconds."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from tokenizers import Tokenizer


@lru_cache(maxsize=8)
def _template(text: str) -> jinja2.Template:
    environment = jinja2.Environment(keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _refuse
    return environment.from_string(text)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


class FastTokenizer:
    """Reads the files of a model's folder as transformers would."""

    def __init__(self, folder: Path) -> None:
        self._tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        template = folder / "chat_template.jinja"
        self.chat_template = template.read_text() if template.exists() else None
        self.eos_token = settings["eos_token"]
        self.eos_token_id = self._tokens.token_to_id(self.eos_token)
        self.all_special_ids = [
            self._tokens.token_to_id(settings[name]) for name in ("bos_token", "eos_token", "pad_token")
        ]

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": self._tokens.encode(text, add_special_tokens=False).ids}

    def apply_chat_template(
        self, conversation: Any, *, chat_template: str | None, add_generation_prompt: bool, **_: Any
    ) -> str:
        return _template(chat_template or self.chat_template or "").render(
            messages=conversation, add_generation_prompt=add_generation_prompt, eos_token=self.eos_token
        )

    def decode(self, ids: list[int], **_: Any) -> str:
        return self._tokens.decode(ids, skip_special_tokens=False)

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [self._tokens.id_to_token(one) for one in ids]
