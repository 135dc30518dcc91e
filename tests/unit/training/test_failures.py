"""Failure cards: the class on evidence, the lines that show it, and a fix that a retry can use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.jobs import Job, JobState, Slot
from studio.jobs.stalls import stalled_reason
from studio.training import FailureKind, Run, Stage, failures, parse_recipe
from studio.training.failures import explain
from studio.training.memory import Fix, MemoryEstimate
from studio.training.recipes import dump_recipe
from studio.training.retry import patched
from studio.training.task import TrainTask

RECIPE = "model: m\ndataset: d\nbatch_size: 4\n"


def run_of(recipe: str = RECIPE, stage: Stage = Stage.SFT, **values: Any) -> Run:
    made = Run(
        id="run_1",
        name="A run",
        stage=stage,
        state=JobState.FAILED,
        recipe=dump_recipe(parse_recipe(stage, recipe)),
        seed=0,
        dataset_version_ids=("d",),
        model_version_id="m",
        output_version_id=None,
        job_id="job_1",
        attempts=1,
        progress=None,
        summary={},
        reason="",
        packages={},
        peak_memory_bytes=None,
        created_at=0.0,
        ended_at=1.0,
    )
    return replace(made, **values)


@pytest.fixture(autouse=True)
def _no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel of the machine that tests has killed is no evidence here."""
    monkeypatch.setattr(failures, "oom_kills", lambda: 0)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(
        "job_1", "training", "run_1", Slot.TRAINING, JobState.FAILED, tmp_path, 0.0, 0.0, 1.0, 1, "", None
    )


def raised(*lines: str) -> str:
    return "\n".join(("step 1: train/loss 2.1", "Traceback (most recent call last):", *lines)) + "\n"


CASES = {
    "cuda": (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
        FailureKind.OUT_OF_MEMORY,
    ),
    "cpu": (
        "RuntimeError: [enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory",
        FailureKind.OUT_OF_MEMORY,
    ),
    "c++": ("terminate called after throwing an instance of 'std::bad_alloc'", FailureKind.OUT_OF_MEMORY),
    "python": ("MemoryError", FailureKind.OUT_OF_MEMORY),
    "disk": ("OSError: [Errno 28] No space left on device", FailureKind.DISK_FULL),
    "nan": (
        "studio.core.errors.StudioError: The loss is nan at step 7: training has diverged.",
        FailureKind.NOT_A_NUMBER,
    ),
    "rows": ("InvalidInput: None of the 20 rows fits into max_length: 512.", FailureKind.BAD_DATA),
    "parquet": ("pyarrow.lib.ArrowInvalid: Parquet magic bytes not found in footer", FailureKind.BAD_DATA),
    "code": ("AttributeError: 'NoneType' object has no attribute 'backward'", FailureKind.CODE_ERROR),
}


@pytest.mark.parametrize("name", CASES)
def test_the_log_tells_the_class(job: Job, name: str) -> None:
    line, kind = CASES[name]
    card = explain(run_of(), job, raised('  File "loop.py", line 3, in step', "    work()", line), None)
    assert card.kind is kind
    assert any(line[:60] in shown for shown in card.evidence)
    assert card.suggestion.endswith(".")
    patched(parse_recipe(Stage.SFT, run_of().recipe), card.fix)


def test_words_that_only_sound_alike_give_no_class(job: Job) -> None:
    log = "step 3: train/loss 2.1, lossless compression of nancy\nMemoryErrors are documented\n"
    assert explain(run_of(), job, log, None).kind is FailureKind.CODE_ERROR


def test_a_look_up_that_failed_in_a_row_is_bad_data(job: Job) -> None:
    log = raised(
        '  File "/x/studio/training/engines/rows.py", line 80, in _row',
        "    row['messages']",
        "KeyError: 'messages'",
    )
    card = explain(run_of(), job, log, None)
    assert card.kind is FailureKind.BAD_DATA
    assert card.fix == {}
    elsewhere = log.replace("rows.py", "loop.py")
    assert explain(run_of(), job, elsewhere, None).kind is FailureKind.CODE_ERROR


def test_lines_carry_their_number_in_the_whole_log(job: Job) -> None:
    lines = [f"step {number}: fine" for number in range(1, 5000)] + ["MemoryError"]
    (job.directory / "log.txt").write_text("\n".join(lines) + "\n")
    card = explain(run_of(), job, "\n".join(lines[-50:]) + "\n", None)
    assert card.evidence == ("line 5000: MemoryError",)


def test_a_traceback_is_shown_by_its_end(job: Job) -> None:
    log = raised(
        '  File "a.py", line 1, in f',
        "    g()",
        '  File "b.py", line 2, in g',
        "    1 / 0",
        "ZeroDivisionError: division by zero",
    )
    shown = explain(run_of(), job, log + "some more words\n", None).evidence
    assert shown[-1].endswith("ZeroDivisionError: division by zero")
    assert len(shown) == 4


@pytest.mark.parametrize(
    ("usage", "kind"),
    [
        ({"memory_total_bytes": 100, "lowest_available_bytes": 2}, FailureKind.OUT_OF_MEMORY),
        (
            {"memory_total_bytes": 100, "lowest_available_bytes": 40, "attempt_peak_bytes": 90},
            FailureKind.OUT_OF_MEMORY,
        ),
        (
            {"memory_total_bytes": 100, "lowest_available_bytes": 60, "attempt_peak_bytes": 30},
            FailureKind.KILLED,
        ),
        ({}, FailureKind.KILLED),
    ],
)
def test_a_kill_is_for_memory_only_on_evidence(job: Job, usage: dict[str, int], kind: FailureKind) -> None:
    card = explain(run_of(), replace(job, exit_code=-9), "step 3: fine\n", usage)
    assert card.kind is kind
    assert "SIGKILL" in card.evidence[0]


def test_the_kernels_count_of_kills_is_evidence(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "oom_kills", lambda: 3)
    usage = {"memory_total_bytes": 100, "lowest_available_bytes": 60, "oom_kills_before": 2}
    killed = replace(job, exit_code=-9)
    assert explain(run_of(), killed, "", usage).kind is FailureKind.OUT_OF_MEMORY
    assert explain(run_of(), killed, "", {**usage, "oom_kills_before": 3}).kind is FailureKind.KILLED


@pytest.mark.parametrize(
    ("code", "kind"), [(-15, FailureKind.KILLED), (-11, FailureKind.CODE_ERROR), (-7, FailureKind.CODE_ERROR)]
)
def test_other_signals(job: Job, code: int, kind: FailureKind) -> None:
    assert explain(run_of(), replace(job, exit_code=code), "", None).kind is kind


def test_a_stalled_and_a_lost_run(job: Job) -> None:
    log = 'Current thread 0x1 (most recent call first):\n  File "loop.py", line 9 in wait\n'
    stalled = explain(run_of(), replace(job, reason=stalled_reason(1800), exit_code=-15), log, None)
    assert stalled.kind is FailureKind.STALLED
    assert "30 minutes" in stalled.evidence[0]
    assert "loop.py" in stalled.evidence[-1]
    lost = explain(
        run_of(state=JobState.LOST),
        replace(job, state=JobState.LOST, reason="The machine went down."),
        "",
        None,
    )
    assert lost.kind is FailureKind.LOST
    assert "resume" in lost.suggestion.lower()


def test_memory_that_ran_out_is_answered_by_the_estimate(job: Job, tiny_model: Path) -> None:
    log = "RuntimeError: CUDA out of memory\n"
    fix = Fix({"batch_size": 2, "gradient_accumulation": 2}, 1, "Smaller.")
    known = MemoryEstimate((), 2, 1, False, fix)
    assert explain(run_of(), job, log, None, known).fix == fix.changes
    # Without one, the job's own papers are counted again.
    text = "model: m\ndataset: d\nrecompute: true\nbatch_size: 512\nmax_length: 256\n"
    recipe = parse_recipe(Stage.SFT, text)
    task = TrainTask("run_1", recipe, job.directory, tiny_model, None, job.directory, job.directory)
    (job.directory / "payload.json").write_text(json.dumps(task.payload()))
    found = explain(run_of(dump_recipe(recipe)), job, log, {"attempt_peak_bytes": 10**9}).fix
    assert found["batch_size"] * found["gradient_accumulation"] == 512
    assert 256 <= found["batch_size"] < 512


@pytest.mark.parametrize(
    ("recipe", "fix"),
    [
        (RECIPE, {"recompute": True, "batch_size": 2, "gradient_accumulation": 2}),
        (
            "model: m\ndataset: d\nbatch_size: 6\nrecompute: true\n",
            {"batch_size": 3, "gradient_accumulation": 2},
        ),
        ("model: m\ndataset: d\nbatch_size: 1\nrecompute: true\n", {"max_length": 256}),
    ],
)
def test_without_papers_the_first_steps_are_taken(job: Job, recipe: str, fix: dict[str, object]) -> None:
    assert explain(run_of(recipe), job, "MemoryError\n", None).fix == fix


def test_the_other_fixes(job: Job) -> None:
    assert explain(
        run_of("model: m\ndataset: d\nlearning_rate: 1e-3\n"), job, "The loss is inf\n", None
    ).fix == {"learning_rate": 2e-4}
    assert explain(run_of("model: m\ndataset: d\ndtype: fp16\n"), job, "The loss is nan\n", None).fix == {
        "dtype": "bf16"
    }
    full = "No space left on device\n"
    assert explain(run_of(), job, full, None).fix == {"keep_checkpoints": 1}
    assert explain(run_of(RECIPE + "keep_checkpoints: 1\n"), job, full, None).fix == {"save_every": 200}
    short = "None of the 20 rows fits into max_length: 512.\n"
    assert explain(run_of(), job, short, None).fix == {"max_length": 2048}
    flash = raised("ImportError: flash_attn is not installed")
    assert explain(run_of(RECIPE + "attention: flash\n"), job, flash, None).fix == {"attention": "sdpa"}


def test_a_recipe_of_another_version_gets_a_card_without_a_fix(job: Job) -> None:
    card = explain(run_of(), job, "MemoryError\n", None)
    assert card.fix
    old = replace(run_of(), recipe="nothing: 1\n")
    assert explain(old, job, "MemoryError\n", None).fix == {}
