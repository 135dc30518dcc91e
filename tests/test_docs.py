"""The documentation tells what is there: settings, dependencies, recipes, routes, pages, commands, files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pages import PAGES
from studio.core import Settings

ROOT = Path(__file__).resolve().parent.parent
DOCS = {path.name: path.read_text() for path in (ROOT / "docs").glob("*.md")}
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_told_with_its_meaning(name: str) -> None:
    meaning = Settings.model_fields[name].description
    start = f"| `STUDIO_{name.upper()}` |"
    [row] = [line for line in DOCS["settings.md"].splitlines() if line.startswith(start)]
    assert meaning is not None
    assert row.endswith(f"| {meaning} |")


def _packages(file: str) -> set[str]:
    lines = (ROOT / file).read_text().splitlines()
    return {line.partition("==")[0] for line in lines if "==" in line and not line.startswith("#")}


def test_every_dependency_says_why_and_no_other_is_listed() -> None:
    table = set(re.findall(r"^\| ([a-z][\w.-]*) \|", DOCS["dependencies.md"], re.MULTILINE)) - {"package"}
    assert table == _packages("requirements.txt") | _packages("requirements-dev.txt")


def test_every_recipe_is_told() -> None:
    for path in (ROOT / "configs").glob("*.yaml"):
        assert f"`configs/{path.name}`" in DOCS["training.md"]


def test_every_page_has_its_chapter_in_order() -> None:
    chapters = re.findall(r"^## (\w+)$", DOCS["guide.md"], re.MULTILINE)
    assert chapters == [page.TITLE for page in PAGES]


def test_every_route_is_told_and_none_that_is_not_there(openapi_routes: set[str]) -> None:
    told = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`", DOCS["rest.md"]))
    assert told == openapi_routes


def test_every_command_is_told() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "studio", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for command in re.findall(r"\{([\w,]+)\}", help_text)[0].split(","):
        assert f"python -m studio {command}" in README + "".join(DOCS.values())


def test_the_readme_tree_is_what_is_on_disk() -> None:
    [tree] = re.findall(r"```\n(app\.py.*?)```", README, re.DOTALL)
    told = {line.split()[0].rstrip("/") for line in tree.splitlines() if line and not line.startswith(" ")}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    top = {name.partition("/")[0] for name in tracked if not name.startswith(".")}
    assert told == top


def test_the_readme_rooms_are_the_rooms_on_disk() -> None:
    rooms = set(re.findall(r"^  (\w+)/ ", README, re.MULTILINE))
    on_disk = {path.parent.name for path in (ROOT / "studio").glob("*/__init__.py")}
    assert rooms == on_disk


def test_links_between_documents_lead_somewhere() -> None:
    for text, folder in [(README, ROOT), *((text, ROOT / "docs") for text in DOCS.values())]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (folder / target).exists(), target
