"""The child's side: files that are whole, and nothing that is slow to import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from studio.core import read_json
from studio.jobs import JobContext


def test_payload(tmp_path: Path):
    (tmp_path / "payload.json").write_text('{"rows": 3}')
    assert JobContext(tmp_path).payload == {"rows": 3}
    assert JobContext(str(tmp_path / "none")).payload == {}


def test_progress_is_throttled_but_not_a_new_phase_nor_the_end(tmp_path: Path):
    context = JobContext(tmp_path)

    def seen() -> tuple[str, float]:
        value = read_json(tmp_path / "progress.json")
        return value["phase"], value["done"]

    context.progress("reading", 1, 10)
    context.progress("reading", 2, 10)
    assert seen() == ("reading", 1)
    context.progress("writing", 1, 10)
    assert seen() == ("writing", 1)
    context.progress("writing", 10, 10)
    assert seen() == ("writing", 10)


def test_failure_of_any_exception(tmp_path: Path):
    JobContext(tmp_path).fail(ValueError("odd"))
    assert read_json(tmp_path / "failure.json") == {"message": "ValueError: odd", "todo": "", "details": []}
    JobContext(tmp_path).fail(MemoryError())
    assert read_json(tmp_path / "failure.json")["message"] == "MemoryError"


def test_result_replaces_and_leaves_no_temporary_file(tmp_path: Path):
    context = JobContext(tmp_path)
    context.result({"a": 1})
    context.result({"a": 2})
    assert read_json(tmp_path / "result.json") == {"a": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_the_supervisor_imports_neither_database_nor_pydantic():
    script = "import sys, json, studio.jobs.supervisor; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    loaded = set(json.loads(done.stdout))
    assert not loaded & {"sqlite3", "sqlite_utils", "pydantic", "studio.core", "subprocess", "torch"}
