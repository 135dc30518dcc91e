"""Items that models write: which prompts two model versions answer, and what becomes of the answers.

Pure and light: ``candidates_job`` decodes, in a process of its own; ``model_work`` starts it and adds
what it wrote to the project. The prompts are those of a dataset version, each once, drawn by a seed
where fewer are wanted. An answer that was cut off, is empty or equals the other one cannot be compared
fairly, so its prompt gives no item; how many and why is part of the result.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core import InvalidInput
from studio.datasets import Message, SchemaKind
from studio.serving.records import Sampling

#: What the job leaves beside its ``result.json``: one line an item.
ITEMS = "items.jsonl"

#: The finish reason of an answer that was never begun: the chat template does not take the prompt.
REFUSED = "refused"

#: An answer that a person has to read and judge in about a minute is not longer than this.
SAMPLING = Sampling(temperature=0.7, top_p=0.95, max_tokens=384)

Prompt = tuple[Message, ...]

#: What the engine's chat templates are asked with.
_ROLES = frozenset({"system", "user", "assistant"})


@dataclass(frozen=True)
class Writer:
    """A model version that writes: the folder of its base, and its adapter's or None."""

    id: str
    reference: str
    base: Path
    adapter: Path | None

    def payload(self) -> dict[str, str]:
        """The writer as JSON; ``from_payload`` reads it back."""
        adapter = str(self.adapter) if self.adapter else ""
        return {"id": self.id, "reference": self.reference, "base": str(self.base), "adapter": adapter}

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Writer:
        """The writer that ``payload`` describes."""
        adapter = Path(payload["adapter"]) if payload["adapter"] else None
        return cls(payload["id"], payload["reference"], Path(payload["base"]), adapter)


@dataclass(frozen=True)
class CandidatesTask:
    """What the job is to do: ``files`` are Parquet files of rows of ``kind``; ``target`` None is all."""

    files: tuple[Path, ...]
    kind: SchemaKind
    target: int | None
    seed: int
    writers: tuple[Writer, ...]
    sampling: Sampling = SAMPLING

    def payload(self) -> dict[str, object]:
        """The task as JSON; ``from_payload`` reads it back."""
        return {
            "files": [str(path) for path in self.files],
            "kind": self.kind.value,
            "target": self.target,
            "seed": self.seed,
            "writers": [writer.payload() for writer in self.writers],
            "sampling": self.sampling.model_dump(),
        }

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> CandidatesTask:
        """The task that ``payload`` describes."""
        return cls(
            tuple(Path(path) for path in payload["files"]),
            SchemaKind(payload["kind"]),
            payload["target"],
            payload["seed"],
            tuple(Writer.from_payload(writer) for writer in payload["writers"]),
            Sampling.model_validate(payload["sampling"]),
        )


@dataclass(frozen=True)
class Answer:
    """What one writer said; ``finish_reason`` is as in ``studio.serving``."""

    text: str
    finish_reason: str


@dataclass(frozen=True)
class Written:
    """The items as JSON lines want them, and how many prompts gave none, by reason."""

    items: tuple[dict[str, Any], ...]
    left_out: dict[str, int]


def prompts(rows: Iterable[Mapping[str, Any]], target: int | None, seed: int) -> tuple[Prompt, ...]:
    """The different prompts of canonical rows in their order; a seeded sample where fewer are wanted."""
    found: dict[str, Prompt] = {}
    for row in rows:
        prompt = _prompt(row)
        if prompt:
            found.setdefault(json.dumps(prompt, sort_keys=True), prompt)
    every = tuple(found.values())
    if target is None or target >= len(every):
        return every
    chosen = random.Random(seed).sample(range(len(every)), target)  # noqa: S311 - it only draws a sample
    return tuple(every[place] for place in sorted(chosen))


def answer_seed(seed: int, place: int, side: int) -> int:
    """The seed of one answer: two writers, even of the same model, never draw alike."""
    digest = hashlib.sha256(f"{seed}\0{place}\0{side}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


def written(asked: Sequence[Prompt], answers: Sequence[Sequence[Answer | None]]) -> Written:
    """The items of ``asked`` with both writers' ``answers``; None where a prompt fits into no context.

    Raises:
        InvalidInput: No prompt gives an item (the details say why).
    """
    items: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    for prompt, sides in zip(asked, answers, strict=True):
        why = _unfit(sides)
        if why:
            left_out[why] += 1
            continue
        first, second = ({"role": "assistant", "content": side.text} for side in sides if side)
        items.append({"prompt": list(prompt), "first": [first], "second": [second]})
    if not items:
        raise InvalidInput(
            f"None of the {len(asked)} prompts got two answers that can be compared.",
            "Choose other models, or prompts that ask for less.",
            tuple(f"{count} {why}" for why, count in left_out.most_common()),
        )
    return Written(tuple(items), dict(left_out))


def _prompt(row: Mapping[str, Any]) -> Prompt:
    messages = list(row["messages"] if "messages" in row else row["prompt"])
    if "messages" in row:
        # What comes before the last answer; a conversation that ends in a question is taken whole.
        last = max((i for i, m in enumerate(messages) if m["role"] == "assistant"), default=len(messages))
        messages = messages[:last]
    if not messages or any(message["role"] not in _ROLES for message in messages):
        return ()
    return tuple(Message(role=message["role"], content=message["content"]) for message in messages)


def _unfit(sides: Sequence[Answer | None]) -> str:
    given = [side for side in sides if side is not None]
    if len(given) < len(sides):
        return "too long for a model's context"
    if any(side.finish_reason == REFUSED for side in given):
        return "that a model's chat template refuses"
    if any(side.finish_reason != "stop" for side in given):
        return "with an answer that was cut off"
    if any(not side.text.strip() for side in given):
        return "with an empty answer"
    if len({side.text.strip() for side in given}) == 1:
        return "with twice the same answer"
    return ""
