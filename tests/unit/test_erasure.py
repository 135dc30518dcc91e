"""A person is erased from every room, what came of them is marked, and rows change in nothing else."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.annotation import NewProject
from studio.core import Conflict, Forbidden, NotFound, Settings
from studio.studio import Studio, open_studio
from tests.unit.api.conftest import with_cheap_passwords
from tests.unit.erasing import ADA, NAME, RULES, ZACH, busy_home, check_erased, where_the_name_is


@pytest.fixture
def studio(settings: Settings) -> Iterator[Studio]:
    opened = open_studio(settings)
    yield with_cheap_passwords(opened)
    opened.close()


@pytest.fixture
def ids(studio: Studio, tiny_model: Path) -> dict[str, str]:
    return busy_home(studio, tiny_model)


def test_the_name_is_gone_and_what_came_of_it_is_marked(studio: Studio, ids: dict[str, str]) -> None:
    # The test would prove nothing if the home did not hold the name in many places.
    assert len(where_the_name_is(studio)) > 15
    votes = len(studio.arena.votes(ADA))
    pseudonym = studio.erase(ADA, NAME)
    assert re.fullmatch("erased-[0-9a-f]{8}", pseudonym)
    check_erased(studio, ids, pseudonym)
    assert len(studio.arena.votes(ADA)) == votes
    with pytest.raises(NotFound):
        studio.erase(ADA, NAME)


def test_what_is_built_later_of_the_same_verdicts_is_marked(studio: Studio, ids: dict[str, str]) -> None:
    pseudonym = studio.erase(ADA, NAME)
    later = studio.build_preferences(ADA, "later", RULES).version
    assert [mark.detail for mark in studio.datasets.version(ADA, later.id).marks] == [pseudonym]


def test_only_admins_erase_and_never_the_last_of_them(studio: Studio, ids: dict[str, str]) -> None:
    before = where_the_name_is(studio)
    with pytest.raises(Forbidden):
        studio.erase(ZACH, NAME)
    with pytest.raises(Conflict):
        studio.erase(ADA, "ada")
    with pytest.raises(NotFound):
        studio.erase(ADA, "nobody")
    assert where_the_name_is(studio) == before
    assert not studio.accounts.account(ADA, "ada").disabled


def imported(studio: Studio, pairs: str, name: str, source: Path) -> str:
    """A project with a label that somebody without an account gave elsewhere."""
    project = studio.annotation.open_project(ADA, NewProject("from elsewhere", dataset=pairs))
    stored = studio.annotation.store.items(project.id)[0]
    row = {"item_id": stored.id, "standing": "first", "annotator": name}
    source.write_text(json.dumps(row) + "\n")
    assert studio.exchange.import_labels(ADA, project.id, source).added == 1
    return project.id


def test_a_name_on_imported_labels_alone_is_erased_too(
    studio: Studio, ids: dict[str, str], tmp_path: Path
) -> None:
    project = imported(studio, ids["other"], "Yolanda Y", tmp_path / "foreign.jsonl")
    built = studio.exchange.preferences(ADA, project, "theirs")
    with pytest.raises(Forbidden):
        studio.erase(ZACH, "Yolanda Y")
    for nobody in ("Yolanda", "local", "import"):
        with pytest.raises(NotFound):
            studio.erase(ADA, nobody)
    pseudonym = studio.erase(ADA, "Yolanda Y")
    assert re.fullmatch("erased-[0-9a-f]{8}", pseudonym)
    assert where_the_name_is(studio, "yolanda") == set()
    assert [entry.label.annotator for entry in studio.annotation.store.standing(project)] == [pseudonym]
    marks = studio.datasets.version(ADA, built.id).marks
    assert [(mark.what, mark.detail) for mark in marks] == [("erased", pseudonym)]
    newest = studio.audit.recent(ADA)[0]
    assert (newest.actor, newest.verb, newest.detail) == ("ada", "erased", "1 imported labels")
    # Broken off before the marks, it is taken up again under the same pseudonym.
    assert studio.erase(ADA, "Yolanda Y") == pseudonym
    with pytest.raises(NotFound):
        studio.erase(ADA, pseudonym)
    # Whoever has an account is untouched by it.
    assert where_the_name_is(studio)


def test_a_name_that_labelled_here_is_no_imported_one(studio: Studio, ids: dict[str, str]) -> None:
    with studio.database.write() as connection:
        connection.execute("DELETE FROM accounts WHERE name = ?", (NAME,))
    before = where_the_name_is(studio)
    with pytest.raises(NotFound):
        studio.erase(ADA, NAME)
    assert where_the_name_is(studio) == before


PSEUDONYM = "erased-0123abcd"


FORBIDDEN = (
    "UPDATE votes SET outcome = 'b'",
    "UPDATE votes SET voter = 'someone'",
    f"UPDATE votes SET voter = '{PSEUDONYM}', outcome = 'b'",
    f"UPDATE votes SET voter = '{PSEUDONYM}', number = number + 1000",
    f"UPDATE votes SET voter = '{PSEUDONYM}', comment = 'x'",
    "UPDATE votes SET voter = 'erased-'",
    "DELETE FROM votes",
    "INSERT OR REPLACE INTO votes SELECT * FROM votes",
    "UPDATE thumbs SET up = 0",
    "UPDATE thumbs SET voter = voter || 'x'",
    f"UPDATE thumbs SET voter = '{PSEUDONYM}', up = 0",
    "DELETE FROM thumbs",
    "UPDATE generations SET text = 'x'",
    "UPDATE generations SET user = 'x'",
    f"UPDATE generations SET user = '{PSEUDONYM}', text = 'x'",
    f"UPDATE generations SET user = '{PSEUDONYM}', rowid = rowid + 1000",
    f"UPDATE generations SET user = '{PSEUDONYM}', first_token_seconds = NULL",
    "DELETE FROM generations",
    "UPDATE deployment_revisions SET state = 'retired'",
    "UPDATE deployment_revisions SET changed_by = 'x'",
    f"UPDATE deployment_revisions SET changed_by = '{PSEUDONYM}', variants = '[]'",
    "DELETE FROM deployment_revisions",
)


def test_rows_allow_a_pseudonym_and_nothing_else(studio: Studio, ids: dict[str, str]) -> None:
    for statement in FORBIDDEN:
        with pytest.raises(sqlite3.IntegrityError), studio.database.write() as connection:
            connection.execute(statement)
            pytest.fail(f"{statement} was allowed")


def test_a_pseudonym_is_for_good(studio: Studio, ids: dict[str, str]) -> None:
    people = {
        "votes": "voter",
        "thumbs": "voter",
        "generations": "user",
        "deployment_revisions": "changed_by",
    }
    for table, column in people.items():
        with studio.database.write() as connection:
            connection.execute(f"UPDATE {table} SET {column} = ?", (PSEUDONYM,))
        for name in ("zacharias", "erased-ffffffff"):
            with pytest.raises(sqlite3.IntegrityError), studio.database.write() as connection:
                connection.execute(f"UPDATE {table} SET {column} = ?", (name,))
