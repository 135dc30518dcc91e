"""The shape of the house: layers, light processes, sizes, and roles in every service method."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SERVICE_FILES = sorted(ROOT.glob("studio/*/*service.py"))
HEAVY = ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "tensorboard")
# Called by the studio itself and not on anybody's behalf.
OF_THE_STUDIO = {
    "tick",
    "settle",
    "settle_again",
    "close",
    "hide_when",
    "hold_when",
    "judge_when",
    "refuse_when",
    "hides",
    "subscribe",
}
# Called at the door, where it is not known yet who acts: they are what finds it out.
AT_THE_DOOR = {
    "exist",
    "create_first",
    "log_in",
    "log_in_external",
    "log_out",
    "session",
    "actor",
    "by_token",
}


def _sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", tuple(_sources("studio", "pages")), ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    limit = 250 if path.is_relative_to(ROOT / "pages") else 400
    assert len(path.read_text().splitlines()) <= limit
    long = [f.name for f in _functions(path) if (f.end_lineno or 0) - f.lineno >= 60]
    assert not long


@pytest.mark.parametrize("path", tuple(_sources("studio", "pages")), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_room_for_odds_and_ends(path: Path) -> None:
    assert path.stem not in {"utils", "helpers", "manager", "common", "misc"}


@pytest.mark.parametrize("path", tuple(_sources("studio", "pages")), ids=lambda p: str(p.relative_to(ROOT)))
def test_sql_stands_only_in_stores(path: Path) -> None:
    if path.name.endswith("store.py") or path.is_relative_to(ROOT / "studio" / "core"):
        return
    text = path.read_text()
    for word in ("SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM", "CREATE TABLE"):
        strings = (
            node.value
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )
        assert not any(value.lstrip().startswith(word) for value in strings), word


@pytest.mark.parametrize("path", SERVICE_FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_service_method_asks_who_acts(path: Path) -> None:
    classes = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.ClassDef)]
    services = [c for c in classes if c.name.endswith("Service")]
    assert services
    for method in (m for c in services for m in c.body if isinstance(m, ast.FunctionDef)):
        if method.name.startswith("_") or method.name in OF_THE_STUDIO | AT_THE_DOOR:
            continue
        parameters = [a.arg for a in method.args.args]
        assert parameters[1:2] == ["actor"], f"{method.name} takes no actor"
        calls = {
            n.func.id for n in ast.walk(method) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        }
        delegates = any(
            isinstance(n, ast.Call) and any(isinstance(a, ast.Name) and a.id == "actor" for a in n.args)
            for n in ast.walk(method)
        )
        assert "require" in calls or delegates, f"{method.name} never checks the role"


def test_there_are_services_to_check() -> None:
    rooms = {path.parent.name for path in SERVICE_FILES}
    assert rooms >= {
        "jobs",
        "datasets",
        "registry",
        "training",
        "serving",
        "evaluation",
        "arena",
        "annotation",
    }


def test_nothing_on_a_page_is_mounted_late() -> None:
    """``pages.components.visible`` says why a component is hidden, and never ``visible=False``."""
    late = [
        f"{path.relative_to(ROOT)}:{node.value.lineno}"
        for path in (ROOT / "pages").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.keyword)
        and node.arg == "visible"
        and ast.unparse(node.value).split("(")[0] not in {"True", "HIDDEN", "'hidden'", "when"}
    ]
    assert late == []


def test_the_web_process_imports_nothing_heavy() -> None:
    script = (
        "import sys, app, studio.studio, studio.api, pages.app\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_the_layers_hold() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
