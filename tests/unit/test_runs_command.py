"""``python -m studio runs`` and the options of ``train``, on a home of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from studio.__main__ import main
from studio.core import LOCAL_ADMIN, Settings
from studio.datasets import NewVersion, SchemaKind, Split
from studio.registry import BaseSource
from studio.studio import open_studio
from studio.training import checkpoints

ADMIN = LOCAL_ADMIN
Say = Callable[..., str]


@pytest.fixture
def say(
    settings: Settings, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Say:
    """Runs a command, and gives what it printed."""
    monkeypatch.setenv("STUDIO_HOME", str(settings.home))
    monkeypatch.setenv("STUDIO_EMBEDDED_MODEL", "false")
    monkeypatch.setenv("STUDIO_SAMPLE_DATA", "false")
    studio = open_studio(settings)
    studio.registry.register_base(ADMIN, BaseSource(str(tiny_model), "smollm2-135m-instruct"))
    messages = [{"role": "user", "content": "Well?"}, {"role": "assistant", "content": "Yes."}]
    rows = {Split.TRAIN: [{"messages": messages}]}
    studio.datasets.create(ADMIN, NewVersion("talk", SchemaKind.INSTRUCTION, rows, ()))
    studio.close()

    def run(*arguments: str, code: int = 0) -> str:
        assert main(list(arguments)) == code
        said = capsys.readouterr()
        return said.out if code == 0 else said.err

    return run


def test_a_run_is_queued_looked_at_and_looked_after(say: Say, tmp_path: Path, settings: Settings) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("stage: sft\nmodel: smollm2-135m-instruct\ndataset: talk\noutput: tuned\n")
    assert "no runs" in say("runs", "list")
    first = say("train", str(recipe), "--queue-only").split("(")[1].split(")")[0]
    then = say("train", str(recipe), "--queue-only", "--after", first, "--priority", "2", "--name", "then")
    second = then.split("(")[1].split(")")[0]
    assert [line.split()[1] for line in say("runs", "queue").splitlines()] == [second, first]
    assert say("runs", "move", second).splitlines()[0].split()[1] == first
    assert "priority 7" in say("runs", "priority", second, "7")
    assert "paused" in say("runs", "pause", first)
    assert "queued" in say("runs", "resume", first)
    assert "stopped" in say("runs", "stop", first)
    assert "(try 2)" in say("runs", "retry", first)
    assert "Nothing is known" in say("runs", "failure", first)
    assert "learning_rate: 0.0002" in say("runs", "show", first)
    assert say("runs", "log", first) == ""
    compared = say("runs", "compare", first, second).splitlines()
    assert compared[0].split()[-1] == "then"
    assert f"python -m studio train {first}.yaml" in say("runs", "command", first)
    assert "no complete checkpoint" in say("runs", "checkpoints", first)
    path = checkpoints.begin(settings.home / "runs" / first / "checkpoints", 4)
    (path / "weights").write_bytes(bytes(2000))
    checkpoints.seal(path, {"step": 4})
    assert say("runs", "checkpoints", first).split()[:2] == ["step", "4"]
    assert "newest" in say("runs", "delete", first, "4", code=1)
    assert "holds no" in say("runs", "keep", first, "4", code=1)
    assert "There is no run run_x" in say("runs", "show", "run_x", code=1)


def test_what_the_command_prints_runs(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe in the printed text starts a run of the same versions."""
    import subprocess

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("stage: sft\nmodel: smollm2-135m-instruct\ndataset: talk\nseed: 5\n")
    first = say("train", str(recipe), "--queue-only").split("(")[1].split(")")[0]
    script = say("runs", "command", first)
    written = script.rpartition("python -m studio")[0]
    subprocess.run(["sh", "-c", written], cwd=tmp_path, check=True)
    again = say("train", str(tmp_path / f"{first}.yaml"), "--queue-only").split("(")[1].split(")")[0]
    differing = [line.split()[0] for line in say("runs", "compare", first, again).splitlines()[1:]]
    assert not {"model", "dataset", "seed", "learning_rate"} & set(differing)
