"""A home of issue 2, with queues, becomes one with projects; nothing that was labelled is lost."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
import sqlite_utils
from sqlite_utils import Migrations

from studio.annotation import Members, ProjectState, Source, Task, Verdict
from studio.annotation.schema_store import migrations, queues_and_labels
from studio.core import LOCAL_ADMIN, Audit, Database, Lineage, Role, Settings
from studio.datasets import DatasetService, NewVersion, Outcome, SchemaKind, Split
from studio.jobs import JobService
from tests.unit.annotation.conftest import ANA, BEN, LEAD, Desk, number_of, pair

_LABEL = """INSERT INTO labels (id, nonce, queue_id, item_id, position, outcome, withdrawn, chosen_side,
    comment, better_answer, annotator, guideline_version, supersedes, shown_at, labelled_at, active_seconds)
    VALUES (?, ?, 'queue_1', ?, ?, ?, ?, 'b', ?, '', ?, ?, ?, 1.0, ?, 2.0)"""


def _old_home(database: Database, version_id: str) -> None:
    old = Migrations("annotation")
    old(name="queues_and_labels")(queues_and_labels)
    database.migrate(old)
    with database.write() as connection:
        queue = ("queue_1", "first round", version_id, 4, "salt", 7.0, "local")
        connection.execute(
            "INSERT INTO queues (id, name, dataset_version_id, items, salt, created_at, created_by) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            queue,
        )
        for number, text in ((1, "Be kind."), (2, "Be strict.")):
            connection.execute(
                "INSERT INTO guidelines VALUES ('queue_1', ?, ?, 7.0, 'local')", (number, text)
            )
        for row in (
            ("l1", "n1", "item_000000", 0, "a", 0, "first", "ana", 1, None, 11.0),
            ("l2", "n2", "item_000000", 0, "b", 0, "better", "ana", 1, "l1", 12.0),
            ("l3", "n3", "item_000002", 2, "skip", 0, "", "ana", 1, None, 13.0),
            ("l4", "n4", "item_000000", 0, "tie", 0, "", "ben", 2, None, 14.0),
            ("l5", "n5", "item_000003", 3, "a", 0, "", "ben", 2, None, 15.0),
            ("l6", "n6", "item_000003", 3, "a", 1, "", "ben", 2, "l5", 16.0),
        ):
            connection.execute(_LABEL, row)


@pytest.fixture
def old(database: Database, home: Path, settings: Settings) -> Desk:
    lineage, audit = Lineage(database), Audit(database)
    jobs = JobService(database, home, audit, training_slots=1, stop_grace_seconds=1.0)
    datasets = DatasetService(database, home, jobs, lineage, audit, settings)
    rows = {Split.TRAIN: [pair(n) for n in range(3)], Split.VALIDATION: [pair(3)]}
    version = datasets.create(LOCAL_ADMIN, NewVersion("pairs", SchemaKind.PREFERENCE, rows, ()))
    _old_home(database, version.id)
    return Desk(database, lineage, audit, datasets)


def test_queues_become_projects(old: Desk) -> None:
    (project,) = old.annotation.projects(ANA)
    assert (project.id, project.name, project.items, project.overlap) == ("queue_1", "first round", 4, 2)
    assert (project.task, project.source, project.state) == (
        Task.PREFERENCE,
        Source.DATASET,
        ProjectState.OPEN,
    )
    assert project.members == Members((Role.ANNOTATOR, Role.RESEARCHER), ())
    assert (project.guideline, project.guideline_version) == ("Be strict.", 2)
    assert old.annotation.guideline(ANA, project.id, 1) == "Be kind."
    assert (project.created_at, project.created_by) == (7.0, "local")


def test_labels_stay_as_they_were(old: Desk) -> None:
    rows = old.database.rows("SELECT id, nonce, supersedes, withdrawn, annotator FROM labels ORDER BY number")
    assert [tuple(row) for row in rows] == [
        ("l1", "n1", None, 0, "ana"),
        ("l2", "n2", "l1", 0, "ana"),
        ("l3", "n3", None, 0, "ana"),
        ("l4", "n4", None, 0, "ben"),
        ("l5", "n5", None, 0, "ben"),
        ("l6", "n6", "l5", 1, "ben"),
    ]
    standing = old.annotation.store.standing("queue_1")
    assert [(e.label.id, e.label.verdict, e.position, e.first_side) for e in standing] == [
        ("l2", Verdict.B, 0, "b"),
        ("l3", Verdict.SKIP, 2, "b"),
        ("l4", Verdict.TIE, 0, "b"),
    ]
    judged = {j.id: j for j in old.annotation.judgements(LEAD)}
    assert judged["l2"].outcome is Outcome.B
    assert judged["l2"].b.messages[0]["content"] == "Good answer 0."
    assert sqlite_integrity(old.database) == ("ok", [])


def test_work_goes_on_where_it_stopped(old: Desk) -> None:
    (project,) = old.annotation.projects(ANA)
    progress = old.annotation.progress(ANA, project.id)
    assert (progress.labelled, progress.skipped, progress.needed) == (1, 1, 8)
    assert old.annotation.progress(LEAD, project.id).done == 2
    items = old.annotation.next_items(ANA, project.id, 4)
    # What lies ahead comes first, then what was left out, then what was skipped.
    assert [number_of(item) for item in items] == [3, 1, 2]
    assert [number_of(item) for item in old.annotation.next_items(BEN, project.id, 4)] == [1, 2, 3]
    taken = old.annotation.undo(ANA, project.id, "new nonce")
    assert taken is not None
    assert taken.supersedes == "l3"


def test_the_old_tables_are_gone_and_the_guards_stand(old: Desk) -> None:
    tables = {row["name"] for row in old.database.rows("SELECT name FROM sqlite_master")}
    assert not tables & {"queues", "guidelines", "labels_new"}
    for statement in ("DELETE FROM labels", "UPDATE labels SET comment = 'x'"):
        with pytest.raises(sqlite3.IntegrityError), old.database.write() as connection:
            connection.execute(statement)


def test_items_that_cannot_be_read_fail_their_project_alone(database: Database, settings: Settings) -> None:
    lineage, audit = Lineage(database), Audit(database)
    jobs = JobService(database, settings.home, audit, training_slots=1, stop_grace_seconds=1.0)
    datasets = DatasetService(database, settings.home, jobs, lineage, audit, settings)
    _old_home(database, "dataset_version_gone")
    (project,) = Desk(database, lineage, audit, datasets).annotation.projects(LEAD)
    assert project.state is ProjectState.FAILED
    assert "cannot be read" in project.problem


def test_a_new_home_has_the_same_tables(tmp_path: Path, old: Desk) -> None:
    fresh = Database(tmp_path / "fresh.db")
    fresh.migrate(migrations)
    schema = "SELECT name, sql FROM sqlite_master WHERE tbl_name IN ('labels', 'items', 'places', 'projects')"
    found = [{row["name"]: row["sql"] for row in base.rows(schema)} for base in (fresh, old.database)]
    fresh.close()
    assert found[0] == found[1]
    assert 'REFERENCES "labels"' in json.dumps(found[0]).replace("\\", "")


def sqlite_integrity(database: Database) -> tuple[str, list[object]]:
    found = sqlite_utils.Database(sqlite3.connect(database.path))
    checked = found.execute("PRAGMA integrity_check").fetchone()[0]
    broken = found.execute("PRAGMA foreign_key_check").fetchall()
    found.close()
    return checked, broken
