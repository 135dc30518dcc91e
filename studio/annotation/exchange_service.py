"""What goes out of a project and what comes into it: exports, a preference version, labels from files.

An export is a copy; the preference version is made in the studio and knows each label it stands on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from studio.annotation.consensus import by_position, consensus
from studio.annotation.exchange_files import ExportFormat, Row, write_rows
from studio.annotation.exchange_import import COLUMNS as IMPORT_COLUMNS
from studio.annotation.exchange_import import KNOWN_ANYWAY, ForeignLabel, LabelReader
from studio.annotation.exchange_pairs import PairRules, ProjectPairs, project_pairs
from studio.annotation.exchange_rows import COLUMNS, Export, consensus_rows, label_rows, pair_rows
from studio.annotation.import_store import ImportStore
from studio.annotation.records import ItemKind, Project, ProjectState, StoredItem, Task
from studio.annotation.review_desk import gold_truths, led_project, with_first_gold
from studio.annotation.review_records import ImportedLabels
from studio.annotation.review_store import ReviewStore
from studio.annotation.store import AnnotationStore
from studio.annotation.verdict_table import counted
from studio.core import (
    Actor,
    Audit,
    Conflict,
    Database,
    Edge,
    InvalidInput,
    Lineage,
    Node,
    Role,
    Settings,
    TooLarge,
    now,
    require,
)
from studio.datasets import DatasetService, DatasetVersion, NewVersion, RejectedRow, SchemaKind
from studio.datasets.canonical import RowError
from studio.datasets.readers import CSV_SUFFIXES, TEXT_SUFFIXES, SourceRow, open_rows, unreadable
from studio.datasets.sources import budget_of, resolve_source
from studio.datasets.splits import split

#: More rows than the largest project has labels are a mistake, or an attack.
_MOST_ROWS = 2_000_000
_ALREADY = "has a label on this item already"


class ExchangeService:
    """Exports projects, makes preference versions of them, and imports labels.

    Args:
        database: Where labels and decisions are kept.
        store: The annotation store that the annotation service uses.
        datasets: Gets preference versions, and says who may use a project's dataset.
        audit: Gets who exported and imported what.
        settings: Which files may be imported.
    """

    def __init__(
        self,
        database: Database,
        store: AnnotationStore,
        datasets: DatasetService,
        audit: Audit,
        settings: Settings,
    ) -> None:
        self._records = store
        self._reviews = ReviewStore(database)
        self._lineage = Lineage(database)
        self._imports = ImportStore(database, self._lineage, audit)
        self._datasets = datasets
        self._audit = audit
        self._settings = settings

    def export(
        self,
        actor: Actor,
        project_id: str,
        what: Export | str,
        form: ExportFormat | str,
        directory: Path,
        *,
        leave_out_protected: bool = False,
    ) -> Path:
        """Write one file below ``directory`` and return its path; a file of that name is replaced.

        Preferences are for training, so they hold no protected prompt, as in a version made of them.

        Raises:
            NotFound: There is no such project.
            Forbidden: The actor does not lead it.
            InvalidInput: There is no such export or format, nothing to export, or a pair's prompt is
                protected and is not to be left out.
        """
        require(actor, Role.RESEARCHER, Role.ANNOTATOR)
        project = led_project(self._records, self._datasets, actor, project_id)
        what, form = _chosen(what, form)
        rows = self._rows(project, what)
        if what is Export.PREFERENCES:
            rows = self._datasets.trainable(actor, project.name, rows, leave_out=leave_out_protected)
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{_file_name(project)}-{what.value}.{form.value}"
        count = write_rows(path, form, COLUMNS[what], rows)
        if not count:
            path.unlink()
            raise InvalidInput(
                f"There are no {what.value} in {project.name} to export.", "Label some items first."
            )
        self._audit.record(
            actor, "exported", Node("project", project.id), f"{what.value} as {form.value}, {count} rows"
        )
        return path

    def preferences(
        self,
        actor: Actor,
        project_id: str,
        dataset_name: str,
        rules: PairRules | None = None,
        *,
        leave_out_protected: bool = False,
    ) -> DatasetVersion:
        """Make a preference version of the consensus; its rows lead back to labels and decisions.

        Raises:
            NotFound: There is no such project.
            Forbidden: The actor does not lead it, or may not make datasets.
            InvalidInput: No pair remains, with what was left out as details, or a pair's prompt is protected.
            Conflict: A dataset of that name holds other rows.
        """
        require(actor, Role.RESEARCHER)
        project = led_project(self._records, self._datasets, actor, project_id)
        rules = rules or PairRules()
        if not 0 <= rules.minimum_probability <= 1:
            raise InvalidInput(
                f"{rules.minimum_probability} is no probability.", "Use 0 (any consensus) to 1."
            )
        made = self._pairs(project, rules)
        left_out = {why: count for why, count in sorted(made.left_out.items()) if count}
        if not made.pairs:
            raise InvalidInput(
                f"No pair remains of {project.name}, so there is no preference version to make.",
                "Label more items, or decide disagreements in the inbox.",
                tuple(f"{count} left out: {why}" for why, count in left_out.items()),
            )
        parents = (project.dataset_version_id,) if project.dataset_version_id else ()
        step = {"step": "project to preferences", "project": project.id, "name": project.name}
        new = NewVersion(
            dataset=dataset_name,
            kind=SchemaKind.PREFERENCE,
            rows=split([pair.row(rules) for pair in made.pairs], rules.validation_fraction, rules.seed),
            steps=({**step, "rules": asdict(rules), "pairs": len(made.pairs), "left_out": left_out},),
            parents=parents,
            licence=self._datasets.version(actor, parents[0]).licence if parents else "",
        )
        version = self._datasets.create(actor, new, leave_out_protected=leave_out_protected)
        node = Node("dataset_version", version.id)
        verdicts = sorted({verdict for pair in made.pairs for verdict in pair.verdicts})
        self._lineage.link(Edge(node, verdict, "judged_by") for verdict in verdicts)
        self._audit.record(actor, "built preferences", node, f"{len(verdicts)} verdicts of {project.id}")
        return version

    def import_labels(self, actor: Actor, project_id: str, path: Path) -> ImportedLabels:
        """Add the labels of a file (JSONL, JSON, CSV, TSV, Parquet); bad rows are named, the rest is added.

        Raises:
            NotFound: There is no such project.
            Forbidden: The actor does not lead it, or the file lies where imports may not read.
            InvalidInput: The file is not readable.
            TooLarge: It is over a limit.
            Conflict: The project is not ready to take labels.
        """
        require(actor, Role.RESEARCHER, Role.ANNOTATOR)
        project = led_project(self._records, self._datasets, actor, project_id)
        if project.state not in (ProjectState.OPEN, ProjectState.CLOSED):
            raise Conflict(f"{project.name} is {project.state}.", "Import when its items are there.")
        source = resolve_source(path, self._settings)
        if source.suffix.lower() in TEXT_SUFFIXES:
            raise unreadable(source, "plain text holds no labels")
        found = self._read(project, source)
        known = self._records.known(project.id)
        there = set(self._imports.add(known, [label for _, label in found.labels], actor, source.name))
        twice = [
            RejectedRow(row, "annotator", f"{label.annotator} {_ALREADY}")
            for number, (row, label) in enumerate(found.labels)
            if number in there
        ]
        rejected = sorted([*found.rejected, *twice], key=lambda one: one.row)
        return ImportedLabels(len(found.labels) - len(there), tuple(rejected), tuple(sorted(found.ignored)))

    def _read(self, project: Project, source: Path) -> _Found:
        cells = source.suffix.lower() in CSV_SUFFIXES
        reader = LabelReader(project, self._records.items(project.id), now(), cells=cells)
        found = _Found()
        rows, _ = open_rows(source, budget_of(self._settings))
        for row in rows:
            found.take(reader, row)
            if row.number > _MOST_ROWS:
                raise TooLarge(f"{source.name} has more than {_MOST_ROWS:,} rows.", "Split it.")
        return found

    def _rows(self, project: Project, what: Export) -> Iterator[Row]:
        items = {item.position: item for item in self._records.items(project.id)}
        if what is Export.LABELS:
            return label_rows(self._records.standing(project.id), items)
        if what is Export.PREFERENCES:
            return pair_rows(self._pairs(project, PairRules(), items).pairs)
        entries = self._records.standing(project.id)
        decisions = self._reviews.adjudications(project.id)
        scored = with_first_gold(entries, self._records.first_entries(project.id))
        truths = gold_truths(self._records, project.id, scored)
        agreed = consensus(project.task, scored, decisions, truths)
        return consensus_rows(agreed, items, {one.position: one for one in decisions})

    def _pairs(
        self, project: Project, rules: PairRules, items: dict[int, StoredItem] | None = None
    ) -> ProjectPairs:
        if project.task is Task.ACCEPT:
            raise InvalidInput(
                f"{project.name} asks whether answers are fit, which prefers none.", "Export its consensus."
            )
        if items is None:
            items = {item.position: item for item in self._records.items(project.id)}
        entries = self._records.standing(project.id)
        decisions = self._reviews.adjudications(project.id)
        scored = with_first_gold(entries, self._records.first_entries(project.id))
        truths = gold_truths(self._records, project.id, scored)
        return project_pairs(
            {position: item for position, item in items.items() if item.kind is ItemKind.DATA},
            consensus(project.task, scored, decisions, truths),
            by_position(counted(project.task, entries)),
            {one.position: one for one in decisions},
            rules,
        )


class _Found:
    """What was read of a file so far: labels by row number, rejected rows, and unknown columns."""

    def __init__(self) -> None:
        self.labels: list[tuple[int, ForeignLabel]] = []
        self.rejected: list[RejectedRow] = []
        self.ignored: set[str] = set()
        self._seen: dict[tuple[str, str], int] = {}

    def take(self, reader: LabelReader, row: SourceRow) -> None:
        """Read one more row."""
        try:
            if row.value is None:
                raise row.error or RowError("", "cannot be read")
            self.ignored |= set(row.value) - IMPORT_COLUMNS - KNOWN_ANYWAY
            label = reader.read(row.value)
            earlier = self._seen.setdefault((label.annotator, label.item_id), row.number)
            if earlier != row.number:
                raise RowError("annotator", f"{label.annotator} labels this item in row {earlier} already")
        except RowError as error:
            self.rejected.append(RejectedRow(row.number, error.field, error.why))
            return
        self.labels.append((row.number, label))


def _chosen(what: Export | str, form: ExportFormat | str) -> tuple[Export, ExportFormat]:
    try:
        return Export(what), ExportFormat(form)
    except ValueError:
        raise InvalidInput(
            f"There is no export of {str(what)[:40]} as {str(form)[:40]}.",
            f"Choose {', '.join(Export)} and {', '.join(ExportFormat)}.",
        ) from None


def _file_name(project: Project) -> str:
    """A name that is safe in every file system, and the project's id, which makes it the only one."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", project.name).strip("-").lower()[:40]
    return f"{plain}-{project.id}" if plain else project.id
