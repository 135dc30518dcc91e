"""The pre-flight's own process: ``python -m studio.training.preflight.worker <job directory>``.

It tokenises one dataset version for one model into a token folder. Rows go by one at a time; of all of
them only the digests of their prompts stay in memory, to find those that repeat. It loads the tokeniser as
the trainer does, and never the model.
"""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from studio.core.clock import now
from studio.core.errors import StudioError
from studio.core.files import sync_directory, write_json
from studio.datasets.canonical import key_digest, prompt_key
from studio.datasets.parquet_files import read_rows
from studio.jobs import STOPPED_EXIT, JobContext
from studio.training.preflight.profile import Profiler
from studio.training.preflight.token_files import SIDES, SUMMARY, VOCABULARY, TokenWriter
from studio.training.preflight.vocabulary import readable
from studio.training.recipes import Recipe, parse_recipe
from studio.training.records import Stage
from studio.training.rendering import ChatTokenizer
from studio.training.tokens import RowTokens, tokenise_row

#: How many rows a finding names.
EXAMPLES = 10


class _Stopped(Exception):
    """Someone asked the job to stop."""


@dataclass
class Prompts:
    """The prompts that went by: which rows repeat one, on their own side or on the other."""

    seen: dict[bytes, int] = field(default_factory=dict)
    again: int = 0
    pairs: list[tuple[int, int]] = field(default_factory=list)
    across: int = 0
    crossing: list[tuple[int, int]] = field(default_factory=list)

    def add(self, key: bytes, number: int, other: Prompts | None) -> None:
        """Take note of row ``number``; ``other`` holds the prompts of the side that was read before."""
        first = self.seen.setdefault(key, number)
        if first != number:
            self.again += 1
            if len(self.pairs) < EXAMPLES:
                self.pairs.append((number, first))
        there = other.seen.get(key) if other else None
        if there is not None:
            self.across += 1
            if len(self.crossing) < EXAMPLES:
                self.crossing.append((number, there))


def main(directory: Path) -> int:
    """Run the job of ``directory``; returns the exit code."""
    context = JobContext(directory)
    try:
        _prepare_environment()
        context.progress("loading the tokeniser", 0, 0)
        _make(context)
    except _Stopped:
        return STOPPED_EXIT
    except Exception as error:
        traceback.print_exc()
        context.fail(error)
        return 1
    return 0


def write_tokens(
    tokenizer: ChatTokenizer, data: Path, recipe: Recipe, folder: Path, told: Any = None
) -> dict[str, Any]:
    """Tokenise both sides of ``data`` into ``folder``; returns what ``summary.json`` says.

    Args:
        tokenizer: Of the model that is to be trained.
        data: A dataset version's folder.
        recipe: What is taught.
        folder: An empty folder.
        told: Called with the side, the rows done and the rows in all, now and then.
    """
    summary: dict[str, Any] = {"made_at": now(), "sides": {}}
    used: set[int] = set()
    before: Prompts | None = None
    for side in SIDES:
        prompts, profiler = Prompts(), Profiler()
        with TokenWriter(folder / f"{side}.parquet") as writer:
            for number, row in _counted(data / f"{side}.parquet", side, told):
                key = key_digest(prompt_key(row))
                whole = _whole(tokenizer, row, recipe)
                first, learnt = profiler.add(whole)
                used.update(whole.ids, whole.answer, whole.other)
                prompts.add(key, number, before)
                writer.write(whole, key, first, learnt)
        profiler.duplicates = prompts.again
        profiler.done().save(folder / f"{side}.profile.npz")
        said = {name: getattr(prompts, name) for name in ("again", "pairs", "across", "crossing")}
        summary["sides"][side] = said
        before = prompts
    write_json(folder / VOCABULARY, readable(tokenizer, sorted(used)))
    write_json(folder / SUMMARY, summary)
    return summary


def _make(context: JobContext) -> None:
    payload = context.payload
    target, staging = Path(payload["target"]), Path(payload["staging"])
    recipe = parse_recipe(Stage(payload["stage"]), payload["recipe"])
    tokenizer = load_tokenizer(Path(payload["base"]))
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)

    def told(side: str, done: int, total: int) -> None:
        if context.stop_requested():
            raise _Stopped
        phase = "reading the training rows" if side == SIDES[0] else "reading the held-out rows"
        context.progress(phase, done, total)

    write_tokens(tokenizer, Path(payload["data"]), recipe, staging, told)
    sync_directory(staging)
    if (target / SUMMARY).exists():
        # Another job was faster; both made the same.
        shutil.rmtree(staging)
    else:
        # What a removal that was cut short left of an older one.
        shutil.rmtree(target, ignore_errors=True)
        staging.rename(target)
        sync_directory(target.parent)
    context.result({"folder": str(target)})


def load_tokenizer(base: Path) -> Any:
    """The tokeniser in a model's folder, loaded as the trainer loads it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base, local_files_only=True)


def _counted(path: Path, side: str, told: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a side with their numbers, from 1."""
    import pyarrow.parquet as pq

    total = pq.read_metadata(path).num_rows
    for number, row in enumerate(read_rows(path), 1):
        if told is not None and (number % 100 == 1 or number == total):
            told(side, number, total)
        yield number, row


def _whole(tokenizer: ChatTokenizer, row: dict[str, Any], recipe: Recipe) -> RowTokens:
    try:
        return tokenise_row(tokenizer, row, recipe)
    except StudioError as error:
        return RowTokens([], why=error.message)
    except jinja2.TemplateError as error:
        return RowTokens([], why=f"The model's chat template refuses it: {error}.")


def _prepare_environment() -> None:
    """No network and no threads: a light job takes one core, and gives way to others."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ[name] = "1"
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.nice(5)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
