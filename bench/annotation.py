"""How many labels a second the studio acknowledges, each of them on disk, against plain SQLite commits.

``annotation.durable_ratio_N`` is the rate of N threads that label through the real service (item ids,
checks, overlap, lineage and audit included), divided by the rate of one thread that commits one small row
at a time with ``synchronous=FULL`` in the same directory. The two are measured in turn, and the median of
the ratios is told, because disks change their minds. Run it as ``python -m bench.annotation``.

What it shows depends on the disk: a commit that takes milliseconds is what sharing one saves. Where it
takes a tenth of one, the work of a label itself is longer, and no sharing can make up for that. Both rates
are printed.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.annotation_card import next_pair
from bench.report import Figure, report
from studio.annotation import AnnotationService, NewLabel, NewProject, Verdict
from studio.core import LOCAL_ADMIN, Actor, Audit, Database, Lineage, Role, Settings, new_id
from studio.datasets import DatasetService, NewVersion, SchemaKind, Split
from studio.jobs import JobService

_WRITERS = (1, 8, 32)
_ROUNDS = 5
_SECONDS = 1.5
_GOALS = {1: ">= 0.2", 8: ">= 5", 32: ">= 5"}
#: Labels that each thread gives in one go, on items that it was given before.
_BURST = 50
#: More than all writers label in one round.
_ITEMS = 40_000


def main() -> None:
    """Measure and print ``annotation.durable_ratio_1``, ``_8``, ``_32`` and ``annotation.next_pair_ms``."""
    report(*durable_ratios())
    report(next_pair())


def durable_ratios() -> list[Figure]:
    """One figure for each number of writers; plain commits are measured just before each of them."""
    ours: dict[int, list[float]] = {writers: [] for writers in _WRITERS}
    plain: dict[int, list[float]] = {writers: [] for writers in _WRITERS}
    with tempfile.TemporaryDirectory() as folder:
        desk = _Desk(Path(folder))
        for number in range(_ROUNDS):
            desk.open_project(f"round {number}")
            for writers in _WRITERS:
                plain[writers].append(_raw_rate(Path(folder) / "raw.db"))
                ours[writers].append(desk.rate(writers))
        desk.close()
    return [_figure(writers, ours[writers], plain[writers]) for writers in _WRITERS]


def _figure(writers: int, ours: list[float], plain: list[float]) -> Figure:
    ratio = statistics.median(rate / base for rate, base in zip(ours, plain, strict=True))
    peer = (
        f"one row a commit, synchronous=FULL, same disk, in turn: {statistics.median(plain):,.0f} a second; "
        f"here {statistics.median(ours):,.0f} labels a second"
    )
    return Figure(f"annotation.durable_ratio_{writers}", ratio, "x", _GOALS[writers], peer)


class _Desk:
    """A studio's annotation room with one large project that many people label."""

    def __init__(self, home: Path) -> None:
        settings = Settings(_env_file=None, home=home, embedded_model=False, sample_data=False)
        self._database = Database(settings.database_path)
        lineage, audit = Lineage(self._database), Audit(self._database)
        jobs = JobService(self._database, home, audit, training_slots=1, stop_grace_seconds=1.0)
        datasets = DatasetService(self._database, home, jobs, lineage, audit, settings)
        rows = {Split.TRAIN: [_pair(n) for n in range(_ITEMS)], Split.VALIDATION: []}
        datasets.create(LOCAL_ADMIN, NewVersion("pairs", SchemaKind.PREFERENCE, rows, ()))
        self._annotation = AnnotationService(self._database, datasets, lineage, audit)
        self._project = ""

    def open_project(self, name: str) -> None:
        """From now on, label in a project of this name whose items nobody has seen."""
        self._project = self._annotation.open_project(LOCAL_ADMIN, NewProject(name, dataset="pairs")).id

    def rate(self, writers: int) -> float:
        """Labels a second that were acknowledged to ``writers`` threads; fetching items is not counted."""
        people = [Actor(f"person-{n}", Role.ANNOTATOR) for n in range(writers)]
        labels, seconds = 0, 0.0
        while seconds < _SECONDS:
            stocks = [self._stock(actor) for actor in people]
            seconds += _together([partial(self._label, *found) for found in zip(people, stocks, strict=True)])
            labels += sum(len(stock) for stock in stocks)
        return labels / seconds

    def close(self) -> None:
        self._database.close()

    def _label(self, actor: Actor, stock: list[NewLabel]) -> None:
        for new in stock:
            self._annotation.label(actor, new)

    def _stock(self, actor: Actor) -> list[NewLabel]:
        found: list[str] = []
        while len(found) < _BURST:
            # What is on hand comes first, so each page names what the pages before it gave.
            items = self._annotation.next_items(actor, self._project, 50, tuple(found))
            if not items:
                raise RuntimeError("The items ran out; there are too few for a machine as fast as this.")
            found += [item.id for item in items]
        return [
            NewLabel(self._project, item, new_id("nonce"), Verdict.A, shown_at=1.0, active_seconds=2.5)
            for item in found
        ]


def _together(works: list[Callable[[], None]]) -> float:
    """Seconds from a common start until every thread is done."""
    gate = threading.Barrier(len(works) + 1)

    def run(work: Callable[[], None]) -> None:
        gate.wait()
        work()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def _raw_rate(path: Path) -> float:
    """Commits a second of one thread that writes rows of a label's size, as SQLite alone can."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS labels (number INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    commits, began = 0, time.perf_counter()
    while time.perf_counter() - began < _SECONDS:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO labels (text) VALUES (?)", ("x" * 200,))
        connection.execute("COMMIT")
        commits += 1
    rate = commits / (time.perf_counter() - began)
    connection.close()
    return rate


def _pair(n: int) -> dict[str, object]:
    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": f"{text} {n}."}]

    return {"prompt": [{"role": "user", "content": f"{n}?"}], "chosen": said("Yes"), "rejected": said("No")}


if __name__ == "__main__":
    main()
