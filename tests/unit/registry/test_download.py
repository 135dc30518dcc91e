from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, Actor, Database, InvalidInput, Role
from studio.jobs import Job, JobService, JobState
from studio.registry import BaseSource, RegistryService
from studio.registry.staging import scratch_folder
from tests.unit.registry import hub
from tests.unit.registry.folders import base_folder

SOURCE = BaseSource(hub.REPOSITORY, "fetched")


def _download(registry: RegistryService, jobs: JobService, source: BaseSource = SOURCE) -> Job:
    started = registry.register(LOCAL_ADMIN, source)
    assert isinstance(started, Job)
    ended = jobs.wait(LOCAL_ADMIN, started.id, 60)
    registry.settle((ended,))
    return ended


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The jobs' client may use the network (loopback here) and keeps its cache in the test's folder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    return monkeypatch


def test_what_settles_after_an_erasure_does_not_bring_the_name_back(
    registry: RegistryService, database: Database, tmp_path: Path
) -> None:
    zed = Actor("zacharias", Role.RESEARCHER)
    job = registry.register(zed, SOURCE)
    assert isinstance(job, Job)
    row = database.row("SELECT payload FROM jobs WHERE id = ?", (job.id,))
    assert row is not None
    job.directory.mkdir(parents=True, exist_ok=True)
    (job.directory / "payload.json").write_text(row["payload"])
    registry.pseudonymise(LOCAL_ADMIN, zed.name, "erased-0123abcd")
    folder = base_folder(tmp_path / "fetched")
    result = {"path": str(folder), "digest": "d", "parameters": 11, "origin": "somewhere"}
    (job.directory / "result.json").write_text(json.dumps(result))
    registry.settle((replace(job, state=JobState.SUCCEEDED),))
    [found] = registry.list(LOCAL_ADMIN)
    assert found.created_by == "erased-0123abcd"
    kept = [str(dict(row)) for row in database.rows("SELECT * FROM jobs")]
    kept += [str(dict(row)) for row in database.rows("SELECT * FROM model_jobs")]
    assert "zacharias" not in "".join(kept)


def test_a_hub_model_is_fetched_at_its_commit_once_and_only_its_safe_files(
    registry: RegistryService, jobs: JobService, home: Path, tmp_path: Path, online: pytest.MonkeyPatch
) -> None:
    folder = base_folder(tmp_path / "repository")
    (folder / "modeling_evil.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    with hub.serve(folder) as address:
        online.setenv("HF_ENDPOINT", address)
        first = _download(registry, jobs)
        assert first.state is JobState.SUCCEEDED, jobs.log(LOCAL_ADMIN, first.id).text
        second = _download(registry, jobs)
    found = registry.version(LOCAL_ADMIN, "fetched@1")
    assert found.origin == f"Hugging Face Hub someone/tiny at {hub.COMMIT}"
    assert (found.licence, found.parameters) == ("mit", 11)
    names = sorted(path.name for path in found.path.iterdir())
    assert names == ["config.json", "model.safetensors", "tokenizer.json"]
    registry.settle((first, second))
    assert len(registry.list(LOCAL_ADMIN)) == 1
    assert [path.name for path in (home / "models").iterdir()] == [found.path.name]


def test_a_model_that_the_hub_does_not_have_is_named(
    registry: RegistryService, jobs: JobService, tmp_path: Path, online: pytest.MonkeyPatch
) -> None:
    with hub.serve(base_folder(tmp_path / "repository")) as address:
        online.setenv("HF_ENDPOINT", address)
        ended = _download(registry, jobs, BaseSource("someone/else", "fetched"))
    assert ended.state is JobState.FAILED
    assert "The Hub has no model 'someone/else'" in ended.reason


def test_a_model_with_pickled_weights_only_is_not_even_fetched(
    registry: RegistryService, jobs: JobService, home: Path, tmp_path: Path, online: pytest.MonkeyPatch
) -> None:
    folder = base_folder(tmp_path / "repository")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with hub.serve(folder) as address:
        online.setenv("HF_ENDPOINT", address)
        ended = _download(registry, jobs)
    assert "has no safetensors files" in ended.reason
    assert list((home / "models").iterdir()) == []


def test_without_a_network_the_failure_says_what_to_do(
    registry: RegistryService, jobs: JobService, online: pytest.MonkeyPatch
) -> None:
    online.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    ended = _download(registry, jobs)
    assert ended.state is JobState.FAILED
    assert "Hub cannot be reached" in ended.reason
    assert "register a local folder" in ended.reason
    assert registry.list(LOCAL_ADMIN) == ()


def test_a_download_can_be_stopped_in_the_middle_and_leaves_nothing(
    registry: RegistryService, jobs: JobService, home: Path, tmp_path: Path, online: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    with hub.serve(base_folder(tmp_path / "repository"), held) as address:
        online.setenv("HF_ENDPOINT", address)
        job = registry.start_download(LOCAL_ADMIN, SOURCE)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            jobs.tick()
            progress = jobs.progress(LOCAL_ADMIN, job.id)
            if progress is not None and progress.phase == "Downloading":
                break
            time.sleep(0.02)
        jobs.request_stop(LOCAL_ADMIN, job.id)
        ended = jobs.wait(LOCAL_ADMIN, job.id, 60)
        held.set()
    assert ended.state is JobState.STOPPED
    assert list((home / "models").iterdir()) == []


def test_what_a_killed_download_left_is_swept(
    registry: RegistryService, jobs: JobService, home: Path
) -> None:
    job = registry.start_download(LOCAL_ADMIN, SOURCE)
    target = home / "models" / job.id
    for folder in (target, scratch_folder(target, job.id)):
        base_folder(folder)
    job.directory.mkdir(parents=True, exist_ok=True)
    (job.directory / "payload.json").write_text(json.dumps({"target": str(target)}))
    registry.settle((replace(job, state=JobState.LOST),))
    assert list((home / "models").iterdir()) == []


@pytest.mark.parametrize("location", ["name", "a/b/c", "/", "a/"])
def test_what_is_no_id_starts_no_job(registry: RegistryService, jobs: JobService, location: str) -> None:
    with pytest.raises(InvalidInput, match="is no id on the Hub"):
        registry.start_download(LOCAL_ADMIN, BaseSource(location, "fetched"))
    assert jobs.list(LOCAL_ADMIN) == ()
