"""``python -m studio sweep`` on a home of its own; nothing is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.__main__ import main
from studio.core import LOCAL_ADMIN, Settings
from studio.datasets import NewVersion, SchemaKind, Split
from studio.registry import BaseSource
from studio.studio import open_studio
from studio.training.sweeps import Trial, TrialState

SWEEP = """
recipe: {stage: sft, model: smollm2-135m-instruct, dataset: talk, output: tuned}
space: {learning_rate: 1e-5 to 1e-3 log}
trials: 3
"""


def test_a_sweep_is_begun_listed_shown_stopped_and_resumed(
    settings: Settings,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STUDIO_HOME", str(settings.home))
    monkeypatch.setenv("STUDIO_EMBEDDED_MODEL", "false")
    monkeypatch.setenv("STUDIO_SAMPLE_DATA", "false")
    studio = open_studio(settings)
    studio.registry.register_base(LOCAL_ADMIN, BaseSource(str(tiny_model), "smollm2-135m-instruct"))
    talks = [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": "Yes."}]}
        for asked in ("Well?", "Now?")
    ]
    rows = {Split.TRAIN: talks[:1], Split.VALIDATION: talks[1:]}
    studio.datasets.create(LOCAL_ADMIN, NewVersion("talk", SchemaKind.INSTRUCTION, rows, ()))
    studio.close()

    def say(*arguments: str, code: int = 0) -> str:
        assert main(["sweep", *arguments]) == code
        said = capsys.readouterr()
        return said.out if code == 0 else said.err

    assert "no sweeps" in say("list")
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    begun = say(str(file), "--queue-only")
    assert "3 trials" in begun
    sweep_id = begun.split("(")[1].split(")")[0]
    studio = open_studio(settings)
    studio.sweeps._store.add_trial(
        Trial(sweep_id, 0, {"learning_rate": 1e-4}, TrialState.COMPLETE, "run_x", 1.5, "", 0.0, 1.0)
    )
    studio.close()
    assert "best eval/loss 1.5 by trial 1" in say("list")
    assert "learning_rate=0.0001" in say("show", sweep_id)
    assert "stopped" in say("stop", sweep_id)
    assert "running" in say("resume", sweep_id)
    assert "no sweep" in say("show", code=1)
    assert "cannot be read" in say(str(tmp_path / "none.yaml"), code=1)
    file.write_text(SWEEP.replace("learning_rate", "lr"))
    assert "space.lr" in say(str(file), code=1)
