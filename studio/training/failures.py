"""Why a run failed, in words, with the lines that show it and a change with which a retry has a chance.

What is known after the end is looked at in a fixed order: how the process ended, what stands in its log,
and how the memory stood. A class is only given on evidence; where there is none beyond an exit code, the card
says so. A signal 9 alone says nothing about memory: the kernel's count of kills or a machine that was
nearly full does.

The card's fix is checked: put into the run's recipe it parses. It is empty where only a person can help.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core import InvalidInput, StudioError
from studio.jobs import Job, JobState
from studio.training.failure_fixes import Changes, fix_for
from studio.training.memory import MemoryEstimate, Usage, oom_kills, usage_of
from studio.training.recipes import Recipe, parse_recipe
from studio.training.records import FailureCard, FailureKind, Run
from studio.training.retry import patched

_MOST_LINES = 6
_LONGEST_LINE = 300
_LOG = "log.txt"

_PATTERNS: tuple[tuple[FailureKind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (
            FailureKind.OUT_OF_MEMORY,
            r"CUDA (error: )?out of memory|OutOfMemoryError|std::bad_alloc|\bMemoryError\b"
            r"|cannot allocate memory|can't allocate memory|not enough memory: you tried to allocate"
            r"|out of memory: killed process",
        ),
        (
            FailureKind.DISK_FULL,
            r"no space left on device|disk quota exceeded|\[Errno (28|122)\]|database or disk is full",
        ),
        (
            FailureKind.NOT_A_NUMBER,
            r"the loss is -?(nan|inf)|training has diverged|\bloss\W{1,4}(nan|inf)\b"
            r"|\bgrad_norm\W{1,4}(nan|inf)\b|found non-?finite",
        ),
        (
            FailureKind.BAD_DATA,
            r"rows fits into max_length|has no training rows|renders a prompt differently"
            r"|has no answer to learn|\bArrowInvalid\b|\bUnicodeDecodeError\b|\bJSONDecodeError\b"
            r"|\bTemplateError\b|index out of range in self|parquet magic bytes",
        ),
    )
)
#: A look-up that fails in one of these files failed in a row of the data.
_DATA_FILES = re.compile(r'File ".*/(rows|tokens|rendering|packing|collate|mixing)\.py", line \d+')
_LOOK_UP = re.compile(r"^(KeyError|TypeError|IndexError|AttributeError|ValueError)\b.*", re.MULTILINE)
#: The line of a traceback that names what was raised stands at its margin.
_RAISED = re.compile(r"^line \d+: [A-Za-z_][\w.]*(: |$)")
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)


@dataclass(frozen=True)
class _Case:
    """What is known of a failed run."""

    run: Run
    job: Job
    log: str
    usage: Usage
    memory: MemoryEstimate | None


def explain(
    run: Run,
    job: Job,
    log_tail: str,
    usage: Usage | Mapping[str, Any] | None,
    memory: MemoryEstimate | None = None,
) -> FailureCard:
    """The card of a run that failed or was lost.

    Args:
        run: The run as it stands after its end.
        job: The job of its newest attempt.
        log_tail: The end of that job's log.
        usage: What the trainer measured of itself, as a record or as read from ``usage.json``.
        memory: The estimate of the run, if there is one; its fix is then taken where memory ran out.
    """
    measured = usage if isinstance(usage, Usage) else usage_of(usage or {})
    case = _Case(run, job, log_tail, measured, memory)
    kind, evidence = _classify(case)
    changes = _checked(run, fix_for(kind, _recipe(run), job, log_tail, measured, memory))
    return FailureCard(
        kind=kind,
        title=_TITLES[kind],
        evidence=tuple(evidence[:_MOST_LINES]),
        suggestion=_ADVICE[kind](case, changes),
        fix=changes,
    )


def _classify(case: _Case) -> tuple[FailureKind, list[str]]:
    if case.job.state is JobState.LOST or case.run.state is JobState.LOST:
        return FailureKind.LOST, _lines(case.job.reason)
    if "It was stalled" in case.job.reason:
        return FailureKind.STALLED, [*_lines(case.job.reason)[:1], *_last(case, 4)]
    for kind, pattern in _PATTERNS:
        found = _matching(case, pattern)
        if found:
            return kind, found
    if case.job.exit_code is not None and case.job.exit_code < 0:
        return _of_signal(case, -case.job.exit_code)
    if _DATA_FILES.search(case.log) and _LOOK_UP.search(case.log):
        return FailureKind.BAD_DATA, _traceback(case)
    return FailureKind.CODE_ERROR, _traceback(case) or _lines(case.run.reason) or _last(case, 4)


def _of_signal(case: _Case, number: int) -> tuple[FailureKind, list[str]]:
    name = _signal_name(number)
    if number == signal.SIGKILL:
        shown = _memory_evidence(case)
        if shown:
            return FailureKind.OUT_OF_MEMORY, [f"The process was ended by {name}.", *shown]
    if number in _CRASHES:
        said = _traceback(case) or _last(case, 4)
        return FailureKind.CODE_ERROR, [f"The process was ended by {name}.", *said]
    return FailureKind.KILLED, [f"The process was ended by {name}.", *_last(case, 3)]


def _memory_evidence(case: _Case) -> list[str]:
    """What shows that the kernel took the process for its memory."""
    usage, found = case.usage, []
    kills = oom_kills() - usage.oom_kills_before
    # Without a measured attempt there is no count from before, and any old kill would look new.
    if usage.memory_total_bytes and kills > 0:
        found.append(f"The kernel has ended {kills} process(es) for memory since the run began.")
    if usage.nearly_full:
        found.append(
            f"The machine had {_size(usage.lowest_available_bytes)} of "
            f"{_size(usage.memory_total_bytes)} left when it was last seen lowest."
        )
    if usage.memory_total_bytes and usage.attempt_peak_bytes > 0.85 * usage.memory_total_bytes:
        found.append(f"The run itself held {_size(usage.attempt_peak_bytes)}.")
    return found


def _matching(case: _Case, pattern: re.Pattern[str]) -> list[str]:
    """The last lines of the log that match, numbered; else those of the reason."""
    found = [line for line in _numbered(case) if pattern.search(line)]
    if found:
        return found[-3:]
    return [line for line in _lines(case.run.reason or case.job.reason) if pattern.search(line)]


def _traceback(case: _Case) -> list[str]:
    """The end of the last traceback in the log: where it was raised, and what."""
    lines = _numbered(case)
    starts = [place for place, line in enumerate(lines) if "Traceback (most recent call last)" in line]
    if not starts:
        return [line for line in lines if re.search(r"\b\w*(Error|Exception)\b: ", line)][-2:]
    frames = lines[starts[-1] :]
    ends = [place for place, line in enumerate(frames) if _RAISED.search(line)]
    return frames[: ends[0] + 1][-4:] if ends else frames[-4:]


def _last(case: _Case, count: int) -> list[str]:
    return _numbered(case)[-count:]


def _numbered(case: _Case) -> list[str]:
    """The lines of the log's end that are not empty, each with its number in the whole log."""
    lines = case.log.splitlines()
    first = max(_line_count(case.job.directory / _LOG) - len(lines), 0) + 1
    return [
        f"line {first + place}: {line.rstrip()[:_LONGEST_LINE]}"
        for place, line in enumerate(lines)
        if line.strip()
    ]


def _line_count(path: Path) -> int:
    count, last = 0, b"\n"
    with suppress(OSError), path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            count += chunk.count(b"\n")
            last = chunk[-1:]
    return count + (last != b"\n")


def _lines(text: str) -> list[str]:
    return [line[:_LONGEST_LINE] for line in text.splitlines() if line.strip()]


def _recipe(run: Run) -> Recipe | None:
    try:
        return parse_recipe(run.stage, run.recipe)
    except StudioError:
        return None  # Of an older version of the studio.


def _checked(run: Run, changes: Changes) -> Changes:
    """The changes, if the run's recipe is still one with them."""
    recipe = _recipe(run)
    if recipe is None:
        return {}
    try:
        patched(recipe, changes)
    except InvalidInput:
        return {}
    return changes


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _size(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def _said(changes: Changes) -> str:
    return ", ".join(f"{path}: {_word(value)}" for path, value in changes.items())


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _advice_memory(case: _Case, changes: Changes) -> str:
    peak = case.usage.peak_cuda_bytes or case.usage.attempt_peak_bytes
    held = f" It held {_size(peak)} when it was last measured." if peak else ""
    if not changes:
        return f"The run needs more memory than there is.{held} Take a smaller model or a larger machine."
    return f"The run needs more memory than there is.{held} Try again with {_said(changes)}."


def _advice_number(_: _Case, changes: Changes) -> str:
    tried = f" Try again with {_said(changes)}." if changes else ""
    return f"The loss became infinite or no number.{tried} If it happens again, look for damaged rows."


def _advice_data(_: _Case, changes: Changes) -> str:
    if changes:
        return f"The rows do not fit the recipe. Try again with {_said(changes)}."
    return "A row of the dataset cannot be learnt from. The pre-flight shows which; mend the dataset first."


def _advice_disk(_: _Case, changes: Changes) -> str:
    tried = f", then try again with {_said(changes)}" if changes else ", then resume the run"
    return f"The disk is full; complete checkpoints are intact. Make room{tried}."


def _advice_killed(_: _Case, __: Changes) -> str:
    return "Something outside the studio ended the process. Resume the run; it goes on from its checkpoint."


def _advice_stalled(_: _Case, __: Changes) -> str:
    return (
        "The run said nothing for too long and was ended. The log shows where it stood. Resume it; where it "
        "stalls again at the same place, look at the last lines of the log."
    )


def _advice_code(_: _Case, changes: Changes) -> str:
    if changes:
        return f"Something that the recipe asks for is missing here. Try again with {_said(changes)}."
    return "The trainer failed in its code. The lines above say where; the whole log has the rest."


def _advice_lost(_: _Case, __: Changes) -> str:
    return "How the run ended is not known. Resume it; it goes on from its newest complete checkpoint."


_TITLES = {
    FailureKind.OUT_OF_MEMORY: "Out of memory",
    FailureKind.NOT_A_NUMBER: "The loss is no number any more",
    FailureKind.BAD_DATA: "The data cannot be learnt from",
    FailureKind.DISK_FULL: "The disk is full",
    FailureKind.KILLED: "Ended from outside",
    FailureKind.STALLED: "Stalled",
    FailureKind.CODE_ERROR: "An error in the code",
    FailureKind.LOST: "Lost",
}
_ADVICE: dict[FailureKind, Callable[[_Case, Changes], str]] = {
    FailureKind.OUT_OF_MEMORY: _advice_memory,
    FailureKind.NOT_A_NUMBER: _advice_number,
    FailureKind.BAD_DATA: _advice_data,
    FailureKind.DISK_FULL: _advice_disk,
    FailureKind.KILLED: _advice_killed,
    FailureKind.STALLED: _advice_stalled,
    FailureKind.CODE_ERROR: _advice_code,
    FailureKind.LOST: _advice_lost,
}
