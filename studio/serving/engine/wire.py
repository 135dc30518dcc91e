"""The engine's requests as they come in, and its answers as OpenAI's protocol wants them.

What would change an answer and is not supported is refused, never ignored.
"""

from __future__ import annotations

import json
import time
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from studio.serving.records import ChatMessage, RowEnd, Sampling, TokenDelta

#: Far more than any context holds.
MOST_BODY_BYTES = 16 << 20


class RowBody(BaseModel):
    """One row of ``POST /rows``; without ``adapter`` the base answers."""

    model_config = ConfigDict(extra="forbid")

    adapter: str | None = None
    messages: list[ChatMessage] = Field(min_length=1)
    sampling: Sampling = Sampling()


class RowsBody(BaseModel):
    """``POST /rows``: rows that are decoded in one batch."""

    model_config = ConfigDict(extra="forbid")

    rows: list[RowBody] = Field(min_length=1, max_length=64)


class AdapterBody(BaseModel):
    """``POST /adapters``."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=200)
    path: str = Field(min_length=1)


class StreamOptions(BaseModel):
    """OpenAI's ``stream_options``."""

    include_usage: bool = False


class ChatBody(BaseModel):
    """``POST /v1/chat/completions``. Fields of OpenAI's that do not change the answer are let through."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    seed: int | None = None
    repetition_penalty: float = 1.0

    @field_validator("messages", mode="before")
    @classmethod
    def _joined_parts(cls, value: Any) -> Any:
        """A message's content may be a list of text parts."""
        return [_plain(m) for m in value] if isinstance(value, list) else value

    def unsupported(self) -> list[str]:
        """The fields given that would change the answer."""
        extra = self.model_extra or {}
        return [name for name in sorted(extra) if name not in _HARMLESS and extra[name] != _NEUTRAL.get(name)]

    def sampling(self, most: int) -> Sampling:
        """How to sample; ``most`` is what is left of the context where no limit was given."""
        limit = self.max_completion_tokens or self.max_tokens or max(1, min(most, 4096))
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=limit,
            seed=self.seed,
            repetition_penalty=self.repetition_penalty,
        )


_HARMLESS = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
#: Values that ask for nothing.
_NEUTRAL: dict[str, Any] = {
    "n": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logprobs": False,
    "logit_bias": {},
    "stop": [],
    "tools": [],
    "response_format": {"type": "text"},
}


def event_line(event: TokenDelta | RowEnd) -> str:
    """One line of the answer to ``POST /rows``."""
    if isinstance(event, TokenDelta):
        return _line({"row": event.row, "text": event.text, "tokens": event.tokens})
    fields = {name: getattr(event, name) for name in RowEnd.__dataclass_fields__ if name != "row"}
    return _line({"row": event.row, "end": fields})


def start_line(row: int, prompt_tokens: int, template_digest: str, prompt_digest: str) -> str:
    """The line that says what a row's prompt became."""
    start = {
        "prompt_tokens": prompt_tokens,
        "template_digest": template_digest,
        "prompt_digest": prompt_digest,
    }
    return _line({"row": row, "start": start})


class Completion:
    """One OpenAI answer, as chunks or whole."""

    def __init__(self, identifier: str, model: str) -> None:
        self._head = {"id": identifier, "created": int(time.time()), "model": model}

    def chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> str:
        """One server-sent event of a stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _event({**self._head, "object": "chat.completion.chunk", "choices": [choice]})

    def usage_chunk(self, end: RowEnd) -> str:
        """The last event before the end where usage was asked for."""
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage(end)}
        return _event(chunk)

    def whole(self, text: str, end: RowEnd) -> dict[str, Any]:
        """The answer in one piece."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "logprobs": None,
            "finish_reason": end.finish_reason,
        }
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage(end)}


def usage(end: RowEnd) -> dict[str, int]:
    """Token counts as OpenAI names them."""
    return {
        "prompt_tokens": end.prompt_tokens,
        "completion_tokens": end.completion_tokens,
        "total_tokens": end.prompt_tokens + end.completion_tokens,
    }


def error_body(code: str, message: str, todo: str = "") -> dict[str, Any]:
    """A refusal as OpenAI's clients read it, with our ``todo`` beside it."""
    kind = "invalid_request_error" if code != "server_error" else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code, "todo": todo}}


def error_event(message: str) -> str:
    """The last event of a stream that failed on its way."""
    return _event(error_body("server_error", message))


def _plain(message: Any) -> Any:
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        return message
    parts = message["content"]
    if not all(isinstance(p, dict) and p.get("type") == "text" for p in parts):
        raise ValueError("only text parts are understood")
    return {**message, "content": "".join(str(p.get("text", "")) for p in parts)}


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
