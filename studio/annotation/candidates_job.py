"""The job that lets two model versions answer prompts: ``python -m studio.annotation.candidates_job DIR``.

It decodes as the model server does, with the engine's own batch, adapters and rendering, so that people
compare what clients would get. Writers that share a base are decoded together, each row with its own
adapter; other bases come one after the other, so that never two are in memory.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from studio.annotation.candidates import (
    ITEMS,
    REFUSED,
    Answer,
    CandidatesTask,
    Prompt,
    Writer,
    answer_seed,
    prompts,
    written,
)
from studio.annotation.model_jobs import Stopped, perform
from studio.core import InvalidInput
from studio.core.files import write_text
from studio.datasets.parquet_files import read_rows
from studio.jobs.child import JobContext
from studio.serving.engine.adapters import AdapterBank
from studio.serving.engine.batch import Batch, Row
from studio.serving.engine.detokenise import Detokeniser
from studio.serving.engine.errors import Refusal
from studio.serving.engine.loader import Base, load_base
from studio.serving.records import ChatMessage, RowEnd, Sampling, TokenDelta

# As the engine does: so many rows share a step, and so many bytes of cache.
_MOST_ROWS = 16
_CACHE_BYTES = 2 << 30
#: A prompt that leaves less room than this for an answer is left out.
_LEAST_ANSWER = 32

#: Answers by the place of the prompt and of the writer.
Answers = dict[tuple[int, int], Answer]
Tick = Callable[[int], None]


class _Pen:
    """Collects what the rows say and hears when they end."""

    def __init__(self) -> None:
        self.answers: Answers = {}

    def emit(self, key: tuple[int, int]) -> Callable[[TokenDelta | RowEnd], None]:
        """What the row of ``key`` calls."""
        pieces: list[str] = []

        def hear(event: TokenDelta | RowEnd) -> None:
            if isinstance(event, TokenDelta):
                pieces.append(event.text)
            else:
                self.answers[key] = Answer("".join(pieces), event.finish_reason)

        return hear


def run(context: JobContext) -> dict[str, Any]:
    """Answer the prompts of the payload, leave the items as a file, and return what was left out.

    Raises:
        InvalidInput: There is no prompt, or no prompt got two answers that can be compared.
        Stopped: Someone asked to stop.
    """
    task = CandidatesTask.from_payload(context.payload)
    context.progress("Reading the prompts", 0, 0)
    asked = prompts((row for path in task.files for row in read_rows(path)), task.target, task.seed)
    if not asked:
        raise InvalidInput("The dataset has no prompt that a model can answer.", "Choose another one.")
    total = len(asked) * len(task.writers)
    found: Answers = {}
    for base in dict.fromkeys(writer.base for writer in task.writers):
        context.progress(f"Loading {_names(task.writers, base)}", len(found), total)

        def tick(done: int, before: int = len(found), which: Path = base) -> None:
            if context.stop_requested():
                raise Stopped
            context.progress(f"{_names(task.writers, which)} answer", before + done, total)

        found |= answer(load_base(base, "auto"), base, task, asked, tick)
    places = range(len(task.writers))
    made = written(asked, [[found.get((place, side)) for side in places] for place in range(len(asked))])
    lines = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in made.items)
    write_text(context.directory / ITEMS, lines)
    return {"prompts": len(asked), "items": len(made.items), "left_out": made.left_out}


def answer(base: Base, folder: Path, task: CandidatesTask, asked: Sequence[Prompt], tick: Tick) -> Answers:
    """What the writers on one base say; a prompt that does not fit has no answer."""
    bank = AdapterBank(base.model)
    sides = [side for side, writer in enumerate(task.writers) if writer.base == folder]
    for side in sides:
        adapter = task.writers[side].adapter
        if adapter is not None:
            bank.load(task.writers[side].id, adapter)
    pen = _Pen()
    rows = deque[Row]()
    for place, prompt in enumerate(asked):
        for side in sides:
            row = _row(base, bank, task, prompt, (place, side), pen)
            if row is not None:
                rows.append(row)
    _decode(Batch(base, bank), base, rows, lambda: tick(len(pen.answers)))
    return pen.answers


def _row(
    base: Base, bank: AdapterBank, task: CandidatesTask, prompt: Prompt, key: tuple[int, int], pen: _Pen
) -> Row | None:
    try:
        rendered = base.render([ChatMessage(**message) for message in prompt])
    except Refusal:
        pen.answers[key] = Answer("", REFUSED)
        return None
    room = base.context - len(rendered.ids)
    if room < _LEAST_ANSWER:
        return None
    writer = task.writers[key[1]]
    most = min(task.sampling.max_tokens, room)
    sampling: Sampling = task.sampling.model_copy(update={"max_tokens": most})
    return Row(
        index=0,
        prompt=rendered,
        adapter=bank.get(writer.id) if writer.adapter is not None else None,
        sampling=sampling,
        seed=answer_seed(task.seed, *key),
        template_digest=base.template_digest,
        detokeniser=Detokeniser(base.tokenizer),
        emit=pen.emit(key),
    )


def _decode(batch: Batch, base: Base, waiting: deque[Row], tick: Callable[[], None]) -> None:
    """Step until every row has ended; a row that ends makes room for the next one."""
    most_tokens = max(1, _CACHE_BYTES // base.bytes_per_token())
    with torch.inference_mode():
        while waiting or batch.rows:
            tick()
            joining = _joining(batch.rows, waiting, most_tokens)
            if joining:
                batch.join(joining)
            batch.step()


def _joining(active: Sequence[Row], waiting: deque[Row], most_tokens: int) -> list[Row]:
    joining: list[Row] = []
    while waiting:
        rows = [*active, *joining, waiting[0]]
        fits = len(rows) <= _MOST_ROWS and len(rows) * max(row.most for row in rows) <= most_tokens
        if len(rows) > 1 and not fits:
            break
        joining.append(waiting.popleft())
    return joining


def _names(writers: Sequence[Writer], base: Path) -> str:
    return " and ".join(dict.fromkeys(writer.reference for writer in writers if writer.base == base))


if __name__ == "__main__":
    sys.exit(perform(Path(sys.argv[1]), run))
