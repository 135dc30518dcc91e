"""The annotation room's tables, and how they came to be.

The invariants: a label is never removed, nothing of it changes but the name of somebody whose account was
erased, and one nonce makes one row. Triggers hold all of it, also against ``INSERT OR REPLACE``. They
do not stop someone who can alter the schema.

``places`` says who sits at which item: ``until`` is when a lease ends (0 for none), ``state`` is 0 while
there is no standing label, 1 with one and 2 for a skip, ``label`` the number of the newest row of
``labels`` there. It, ``missing`` (labels that an item still lacks) and ``tallies`` follow from the labels
and change in the transaction that adds one, so that no question has to count all of them.
"""

from __future__ import annotations

from typing import Any

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.annotation.items import item_id

migrations = Migrations("annotation")

LEASED, LABELLED, SKIPPED = 0, 1, 2


@migrations()
def queues_and_labels(db: SqliteUtils) -> None:
    """What issue 2 had: queues that offered every pair to everybody."""
    for statement in _QUEUES:
        db.execute(statement)


@migrations()
def projects(db: SqliteUtils) -> None:
    """Projects instead of queues; what a home holds already is taken over."""
    for statement in _PROJECTS:
        db.execute(statement)
    _take_over(db)
    for statement in _OLD_GONE:
        db.execute(statement)
    for statement in _GUARDS:
        db.execute(statement)


@migrations()
def restored_labels(db: SqliteUtils) -> None:
    """Undo after a correction brings back the corrected label, as a copy that names it."""
    db.execute("ALTER TABLE labels ADD COLUMN restores TEXT REFERENCES labels (id)")
    db.execute(
        """CREATE TRIGGER labels_restores_never_updated BEFORE UPDATE OF restores ON labels
        WHEN NEW.restores IS NOT OLD.restores
        BEGIN SELECT RAISE(ABORT, 'labels is append-only'); END"""
    )


@migrations()
def looks(db: SqliteUtils) -> None:
    """Who was shown what others said of an item; of homes before this nobody knows it."""
    for statement in _LOOKS:
        db.execute(statement)


_QUEUES = (
    """CREATE TABLE queues (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
        dataset_version_id TEXT NOT NULL, items INTEGER NOT NULL, salt TEXT NOT NULL,
        created_at REAL NOT NULL, created_by TEXT NOT NULL,
        UNIQUE (dataset_version_id, name)
    ) STRICT""",
    """CREATE TABLE guidelines (
        queue_id TEXT NOT NULL REFERENCES queues (id), version INTEGER NOT NULL, text TEXT NOT NULL,
        at REAL NOT NULL, by TEXT NOT NULL, PRIMARY KEY (queue_id, version)
    ) STRICT""",
    """CREATE TABLE labels (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, nonce TEXT NOT NULL UNIQUE,
        queue_id TEXT NOT NULL REFERENCES queues (id), item_id TEXT NOT NULL, position INTEGER NOT NULL,
        outcome TEXT NOT NULL, withdrawn INTEGER NOT NULL, chosen_side TEXT NOT NULL
        CHECK (chosen_side IN ('a', 'b')), comment TEXT NOT NULL, better_answer TEXT NOT NULL,
        annotator TEXT NOT NULL, guideline_version INTEGER NOT NULL, supersedes TEXT REFERENCES labels (id),
        shown_at REAL, labelled_at REAL NOT NULL, active_seconds REAL
    ) STRICT""",
    "CREATE INDEX labels_annotator ON labels (queue_id, annotator, item_id, number)",
    """CREATE TRIGGER labels_never_updated BEFORE UPDATE ON labels
    BEGIN SELECT RAISE(ABORT, 'labels is append-only'); END""",
    """CREATE TRIGGER labels_never_deleted BEFORE DELETE ON labels
    BEGIN SELECT RAISE(ABORT, 'labels is append-only'); END""",
    # INSERT OR REPLACE deletes without firing the trigger above.
    """CREATE TRIGGER labels_never_replaced BEFORE INSERT ON labels
    WHEN EXISTS (SELECT 1 FROM labels WHERE number = NEW.number OR id = NEW.id OR nonce = NEW.nonce)
    BEGIN SELECT RAISE(ABORT, 'labels is append-only'); END""",
)

_PROJECTS = (
    """CREATE TABLE projects (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, task TEXT NOT NULL,
        source TEXT NOT NULL, state TEXT NOT NULL, problem TEXT NOT NULL, dataset_version_id TEXT,
        overlap INTEGER NOT NULL CHECK (overlap >= 1), target INTEGER, single INTEGER NOT NULL,
        roles TEXT NOT NULL, people TEXT NOT NULL, models TEXT NOT NULL,
        suggestion_model TEXT NOT NULL, gold_version_id TEXT, gold_every INTEGER NOT NULL,
        repeat_every INTEGER NOT NULL, lease_seconds INTEGER NOT NULL, items INTEGER NOT NULL,
        stored INTEGER NOT NULL, salt TEXT NOT NULL, cursor INTEGER NOT NULL, job_id TEXT,
        created_at REAL NOT NULL, created_by TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE project_guidelines (
        project_id TEXT NOT NULL REFERENCES projects (id), version INTEGER NOT NULL, text TEXT NOT NULL,
        at REAL NOT NULL, by TEXT NOT NULL, PRIMARY KEY (project_id, version)
    ) STRICT""",
    # Small rows, so that a search over all items of a project reads little; the texts stand beside them.
    """CREATE TABLE items (
        project_id TEXT NOT NULL REFERENCES projects (id), position INTEGER NOT NULL, id TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('data', 'gold')), truth TEXT, battle_id TEXT NOT NULL,
        missing INTEGER NOT NULL, PRIMARY KEY (project_id, position), UNIQUE (project_id, id)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX items_open ON items (project_id, position) WHERE missing > 0",
    "CREATE INDEX items_gold ON items (project_id, position) WHERE kind = 'gold'",
    """CREATE TABLE texts (
        project_id TEXT NOT NULL REFERENCES projects (id), position INTEGER NOT NULL,
        content TEXT NOT NULL, PRIMARY KEY (project_id, position)
    ) STRICT""",
    """CREATE TABLE places (
        project_id TEXT NOT NULL REFERENCES projects (id), annotator TEXT NOT NULL,
        position INTEGER NOT NULL, item_id TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('data', 'gold', 'repeat')),
        side TEXT NOT NULL CHECK (side IN ('a', 'b')), until REAL NOT NULL, state INTEGER NOT NULL,
        label INTEGER, suggested TEXT, PRIMARY KEY (project_id, annotator, position, item_id)
    ) STRICT, WITHOUT ROWID""",
    "CREATE UNIQUE INDEX places_item ON places (project_id, annotator, item_id)",
    "CREATE INDEX places_position ON places (project_id, position)",
    "CREATE INDEX places_leased ON places (project_id, annotator) WHERE until > 0",
    "CREATE INDEX places_skipped ON places (project_id, annotator, label) WHERE state = 2",
    """CREATE TABLE tallies (
        project_id TEXT NOT NULL REFERENCES projects (id), annotator TEXT NOT NULL,
        given INTEGER NOT NULL, golds INTEGER NOT NULL, repeats INTEGER NOT NULL,
        labelled INTEGER NOT NULL, skipped INTEGER NOT NULL, done INTEGER NOT NULL,
        frontier INTEGER NOT NULL, PRIMARY KEY (project_id, annotator)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE suggestions (
        project_id TEXT NOT NULL REFERENCES projects (id), position INTEGER NOT NULL,
        standing TEXT NOT NULL, margin REAL NOT NULL, PRIMARY KEY (project_id, position)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE labels_new (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, nonce TEXT NOT NULL UNIQUE,
        project_id TEXT NOT NULL REFERENCES projects (id), item_id TEXT NOT NULL,
        position INTEGER NOT NULL, kind TEXT NOT NULL, first_side TEXT NOT NULL
        CHECK (first_side IN ('a', 'b')), verdict TEXT NOT NULL, strength INTEGER, rating_a INTEGER,
        rating_b INTEGER, withdrawn INTEGER NOT NULL, comment TEXT NOT NULL, reason TEXT NOT NULL,
        better_answer TEXT NOT NULL, annotator TEXT NOT NULL, guideline_version INTEGER NOT NULL,
        supersedes TEXT REFERENCES labels_new (id), shown_at REAL, labelled_at REAL NOT NULL,
        active_seconds REAL, suggested TEXT, origin TEXT NOT NULL
    ) STRICT""",
)

_OLD_GONE = (
    "DROP TABLE labels",
    "DROP TABLE guidelines",
    "DROP TABLE queues",
    "ALTER TABLE labels_new RENAME TO labels",
)

# fmt: off
_LABEL_COLUMNS = (
    "number", "id", "nonce", "project_id", "item_id", "position", "kind", "first_side", "verdict",
    "strength", "rating_a", "rating_b", "withdrawn", "comment", "reason", "better_answer",
    "guideline_version", "supersedes", "shown_at", "labelled_at", "active_seconds", "suggested", "origin",
)
# fmt: on

_GUARDS = (
    f"""CREATE TRIGGER labels_never_updated BEFORE UPDATE ON labels
    WHEN NOT (NEW.annotator LIKE 'erased-%' AND OLD.annotator NOT LIKE 'erased-%'
        AND {" AND ".join(f"NEW.{name} IS OLD.{name}" for name in _LABEL_COLUMNS)})
    BEGIN SELECT RAISE(ABORT, 'labels is append-only'); END""",
    """CREATE TRIGGER labels_never_deleted BEFORE DELETE ON labels
    BEGIN SELECT RAISE(ABORT, 'labels is append-only'); END""",
    """CREATE TRIGGER labels_never_replaced BEFORE INSERT ON labels
    WHEN EXISTS (SELECT 1 FROM labels WHERE number = NEW.number OR id = NEW.id OR nonce = NEW.nonce)
    BEGIN SELECT RAISE(ABORT, 'labels is append-only'); END""",
)

_LOOKS = (
    """CREATE TABLE looks (
        project_id TEXT NOT NULL REFERENCES projects (id), annotator TEXT NOT NULL, item_id TEXT NOT NULL,
        position INTEGER NOT NULL, at REAL NOT NULL, PRIMARY KEY (project_id, annotator, item_id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER looks_never_updated BEFORE UPDATE ON looks
    WHEN NOT (NEW.annotator LIKE 'erased-%' AND OLD.annotator NOT LIKE 'erased-%'
        AND NEW.project_id IS OLD.project_id AND NEW.item_id IS OLD.item_id
        AND NEW.position IS OLD.position AND NEW.at IS OLD.at)
    BEGIN SELECT RAISE(ABORT, 'looks is append-only'); END""",
    """CREATE TRIGGER looks_never_deleted BEFORE DELETE ON looks
    BEGIN SELECT RAISE(ABORT, 'looks is append-only'); END""",
    """CREATE TRIGGER looks_never_replaced BEFORE INSERT ON looks
    WHEN EXISTS (SELECT 1 FROM looks WHERE project_id = NEW.project_id AND annotator = NEW.annotator
        AND item_id = NEW.item_id)
    BEGIN SELECT RAISE(ABORT, 'looks is append-only'); END""",
)

# A queue offered each pair to everybody: its overlap is as many people as have labelled in it.
_COPY = (
    """INSERT INTO projects (number, id, name, task, source, state, problem, dataset_version_id, overlap,
        single, roles, people, models, suggestion_model, gold_every, repeat_every, lease_seconds, items,
        stored, salt, cursor, created_at, created_by)
    SELECT number, id, name, 'preference', 'dataset', 'open', '', dataset_version_id,
        max(1, min(20, (SELECT count(DISTINCT annotator) FROM labels WHERE queue_id = queues.id))),
        0, '["annotator", "researcher"]', '[]', '[]', '', 10, 0, 900, items, items, salt, 0,
        created_at, created_by FROM queues""",
    "INSERT INTO project_guidelines SELECT queue_id, version, text, at, by FROM guidelines",
    """INSERT INTO labels_new
    SELECT labels.number, labels.id, nonce, queue_id, items.id, labels.position, 'data', chosen_side,
        outcome, NULL, NULL, NULL, withdrawn, comment, '', better_answer, annotator, guideline_version,
        supersedes, shown_at, labelled_at, active_seconds, NULL, 'studio'
    FROM labels JOIN items ON items.project_id = queue_id AND items.position = labels.position
    ORDER BY labels.number""",
    """INSERT INTO places
    SELECT project_id, annotator, position, item_id, 'data', first_side, 0,
        CASE WHEN withdrawn THEN 0 WHEN verdict = 'skip' THEN 2 ELSE 1 END, number, NULL
    FROM labels_new WHERE number IN (
        SELECT max(number) FROM labels_new GROUP BY project_id, annotator, item_id)""",
    """UPDATE items SET missing = missing - (SELECT count(*) FROM places WHERE state = 1
        AND project_id = items.project_id AND position = items.position)""",
    """INSERT INTO tallies
    SELECT project_id, annotator, count(*), 0, 0, sum(state = 1), sum(state = 2), sum(state = 1),
        max(position) FROM places GROUP BY project_id, annotator""",
)


def _take_over(db: SqliteUtils) -> None:
    db.execute(_COPY[0])
    for row in db.execute("SELECT id, salt, items, overlap FROM projects").fetchall():
        db.conn.executemany("INSERT INTO items VALUES (?, ?, ?, 'data', NULL, '', ?)", _bare_items(*row))
    for statement in _COPY[1:]:
        db.execute(statement)


def _bare_items(project_id: str, salt: str, items: int, overlap: int) -> list[tuple[Any, ...]]:
    """Items without their texts: those stand in the dataset's files, and the service adds them."""
    return [(project_id, position, item_id(salt, position), overlap) for position in range(items)]
