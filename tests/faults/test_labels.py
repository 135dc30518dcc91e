"""Labels survive kill -9: whatever was acknowledged is on disk, whole, and can be sent again."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from studio.annotation import AnnotationService, NewLabel, NewProject, Project, Verdict
from studio.core import LOCAL_ADMIN, Actor, Audit, Database, Lineage, Role, Settings
from studio.datasets import DatasetService, NewVersion, SchemaKind, Split
from studio.jobs import JobService
from tests.unit.annotation.conftest import pair

pytestmark = pytest.mark.faults

FULL = os.environ.get("STUDIO_TEST_FULL") == "1"
KILLS, ITEMS = (100, 100_000) if FULL else (5, 6_000)
WRITERS = 8

# A studio in a process of its own, in which eight people label; it says each label once it is acknowledged.
TEAM = """
import os, sys, threading
from pathlib import Path
from studio.annotation import NewLabel, Verdict
from studio.core import Actor, Conflict, Role, Settings, new_id
from tests.faults.test_labels import room
annotation, database = room(Settings(_env_file=None, home=Path(sys.argv[1])))
project_id, run = sys.argv[2], sys.argv[3]
def work(number):
    actor = Actor(f"person-{number}", Role.ANNOTATOR)
    while items := annotation.next_items(actor, project_id, 20):
        for item in items:
            nonce = new_id("nonce")
            try:
                label = annotation.label(actor, NewLabel(project_id, item.id, nonce, Verdict.A, comment=run))
            except Conflict:
                continue
            os.write(1, f"{label.id} {item.id} {nonce} {actor.name}\\n".encode())
            if label.id.endswith("7"):
                taken = annotation.undo(actor, project_id, "u" + nonce)
                os.write(1, f"{taken.id} {item.id} u{nonce} {actor.name}\\n".encode())
for number in range(int(sys.argv[4])):
    threading.Thread(target=work, args=(number,)).start()
"""


def room(settings: Settings) -> tuple[AnnotationService, Database]:
    database = Database(settings.database_path)
    lineage, audit = Lineage(database), Audit(database)
    jobs = JobService(database, settings.home, audit, training_slots=1, stop_grace_seconds=1.0)
    datasets = DatasetService(database, settings.home, jobs, lineage, audit, settings)
    return AnnotationService(database, datasets, lineage, audit), database


def _open(settings: Settings) -> Project:
    database = Database(settings.database_path)
    lineage, audit = Lineage(database), Audit(database)
    jobs = JobService(database, settings.home, audit, training_slots=1, stop_grace_seconds=1.0)
    datasets = DatasetService(database, settings.home, jobs, lineage, audit, settings)
    rows = {Split.TRAIN: [pair(n) for n in range(ITEMS)], Split.VALIDATION: []}
    version = datasets.create(LOCAL_ADMIN, NewVersion("pairs", SchemaKind.PREFERENCE, rows, ()))
    annotation = AnnotationService(database, datasets, lineage, audit)
    project = annotation.open_project(LOCAL_ADMIN, NewProject("round", dataset=version.id))
    database.close()
    return project


def _label_until_killed(home: Path, project: Project, run: int) -> list[list[str]]:
    """What a team was told before its process died; a last line that was cut off told nobody anything."""
    command = [sys.executable, "-c", TEAM, str(home), project.id, f"run {run}", str(WRITERS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first, "The team ended before it labelled anything."
    killer = threading.Timer(random.Random(run).uniform(0.0, 0.6), process.send_signal, (signal.SIGKILL,))
    killer.start()
    said = first + process.stdout.read()
    process.wait(timeout=30)
    process.stdout.close()
    killer.join()
    assert process.returncode == -signal.SIGKILL, "The team was done before it was killed."
    whole = said[: said.rfind(b"\n") + 1].decode()
    return [line.split() for line in whole.splitlines()]


@pytest.mark.timeout(3600)
def test_no_acknowledged_label_is_lost(settings: Settings) -> None:
    project = _open(settings)
    told: list[list[str]] = []
    for run in range(KILLS):
        told += _label_until_killed(settings.home, project, run)
        _check(settings, {line[0] for line in told})
    assert len(told) > KILLS * WRITERS
    _check_counts(settings, project)
    _check_retries(settings, project, told)


def _check(settings: Settings, told: set[str]) -> None:
    connection = sqlite3.connect(settings.database_path)
    (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    assert verdict == "ok"
    stored = {row[0] for row in connection.execute("SELECT id FROM labels")}
    assert told <= stored, f"{len(told - stored)} acknowledged labels are lost"
    for table, column in (("edges", "child_id"), ("audit", "object_id")):
        found = {row[0] for row in connection.execute(f"SELECT {column} FROM {table}")}
        assert stored <= found, f"labels without {table}"
    connection.close()


def _check_counts(settings: Settings, project: Project) -> None:
    """What follows from the labels is what they say, though it was never counted anew."""
    annotation, database = room(settings)
    standing = [e for e in annotation.store.standing(project.id) if e.label.verdict is not Verdict.SKIP]
    assert annotation.progress(LOCAL_ADMIN, project.id).done == len(standing)
    assert len({entry.position for entry in standing}) == len(standing)
    missing = database.rows("SELECT sum(missing) FROM items")[0][0]
    assert missing == ITEMS - len(standing)
    database.close()


def _check_retries(settings: Settings, project: Project, told: list[list[str]]) -> None:
    annotation, database = room(settings)
    runs = {row["id"]: row["comment"] for row in database.rows("SELECT id, comment FROM labels")}
    for label_id, item_id, nonce, name in told[-200:]:
        actor = Actor(name, Role.ANNOTATOR)
        if nonce.startswith("u"):
            taken = annotation.undo(actor, project.id, nonce)
            assert taken is not None
            assert taken.id == label_id
        else:
            new = NewLabel(project.id, item_id, nonce, Verdict.A, comment=runs[label_id])
            assert annotation.label(actor, new).id == label_id
    assert len(database.rows("SELECT id FROM labels")) == len(runs)
    database.close()


def test_the_check_would_notice_a_loss(settings: Settings) -> None:
    """A label that was never committed is missed, so the test above can fail."""
    project = _open(settings)
    annotation, database = room(settings)
    item = annotation.next_items(LOCAL_ADMIN, project.id, 1)[0]
    label = annotation.label(LOCAL_ADMIN, NewLabel(project.id, item.id, "n", Verdict.A))
    database.close()
    _check(settings, {label.id})
    with pytest.raises(AssertionError, match="lost"):
        _check(settings, {label.id, "label_never"})
