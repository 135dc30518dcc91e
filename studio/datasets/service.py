"""The dataset room's service: what the pages, the REST API and the rooms above ask of datasets."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core.access import Access
from studio.core.actors import EVERYONE, Actor, Role, require
from studio.core.audit import Audit
from studio.core.database import Database
from studio.core.errors import InvalidInput, NotFound
from studio.core.ids import new_id
from studio.core.lineage import Edge, Lineage, Node
from studio.core.settings import Settings
from studio.core.text import plain_text
from studio.datasets.canonical import Row, prompt_key
from studio.datasets.detection import inspect_file
from studio.datasets.importing import REJECTS
from studio.datasets.imports import KIND, ImportDesk
from studio.datasets.joining import write_join
from studio.datasets.making import write_version
from studio.datasets.naming import check_name, split_reference
from studio.datasets.parquet_files import read_page, read_rows
from studio.datasets.preferences import PreferenceBuilder
from studio.datasets.protection import PromptGuard
from studio.datasets.protection_store import ProtectionStore
from studio.datasets.records import (
    DatasetSummary,
    DatasetVersion,
    ImportReport,
    ImportRequest,
    ImportResult,
    Inspection,
    Judgement,
    NewVersion,
    Opinion,
    Page,
    PreferenceResult,
    PreferenceSettings,
    Split,
)
from studio.datasets.sight import Sight
from studio.datasets.sources import budget_of, resolve_source
from studio.datasets.store import DatasetStore, Draft

if TYPE_CHECKING:
    from studio.jobs import Job, JobService

# Those who may look at rows; a stakeholder judges answers and needs none.
_READERS = (Role.RESEARCHER, Role.ANNOTATOR)

_PAGE_LIMIT = 1000


class DatasetService:
    """Imports, makes, joins and shows dataset versions.

    Args:
        database: Where datasets and versions are listed.
        home: The studio's home; the rows lie in ``home/datasets/<version id>/``.
        jobs: Runs the imports of large files.
        lineage: Gets the edges from a version to what it was made of.
        audit: Gets what was done.
        settings: Limits of imports.
        access: Who may use which dataset.
    """

    def __init__(
        self,
        database: Database,
        home: Path,
        jobs: JobService,
        lineage: Lineage,
        audit: Audit,
        settings: Settings,
        access: Access | None = None,
    ) -> None:
        self._directory = home / "datasets"
        self._directory.mkdir(parents=True, exist_ok=True)
        access = access or Access(database, audit)
        self._store = DatasetStore(database, self._directory, access)
        self._sight = Sight(self._store, access, lineage)
        self._protections = ProtectionStore(database)
        self._guard = PromptGuard(self._protections, self._sight.name_of)
        self._lineage = lineage
        self._audit = audit
        self._settings = settings
        self._desk = ImportDesk(self._store, self._directory, jobs, audit, settings, self._guard)
        self._desk.settle_left_over()

    def inspect(self, actor: Actor, source: Path) -> Inspection:
        """Look at the first rows of a file and say what it may be.

        Raises:
            InvalidInput: The file is not readable at all.
            Forbidden: It lies outside the directories that imports may read.
            TooLarge: It is over the upload limit.
        """
        require(actor, Role.RESEARCHER)
        return inspect_file(resolve_source(source, self._settings), budget_of(self._settings))

    def import_file(self, actor: Actor, request: ImportRequest) -> ImportResult:
        """Make a version of a file; waits for the job where the file is large.

        Raises:
            InvalidInput: The file is not readable, its format is not clear, or no row fits.
            Forbidden: It lies outside the directories that imports may read.
            TooLarge: It is over a limit, packed or unpacked.
            Conflict: The dataset holds rows of another kind, or its name is taken by a private one.
        """
        require(actor, Role.RESEARCHER)
        self._sight.admit(actor, request.dataset)
        return self._desk.import_file(actor, request)

    def begin_import(self, actor: Actor, request: ImportRequest) -> ImportResult | Job:
        """Like ``import_file``, but a large file's job is returned at once: this never waits.

        A job's file must stay until the job is done.
        """
        require(actor, Role.RESEARCHER)
        self._sight.admit(actor, request.dataset)
        return self._desk.begin(actor, request)

    def start_import(self, actor: Actor, request: ImportRequest) -> Job:
        """Like ``begin_import``, but as a job whatever the file's size."""
        require(actor, Role.RESEARCHER)
        self._sight.admit(actor, request.dataset)
        return self._desk.start(actor, request)

    def import_result(self, actor: Actor, job_id: str) -> ImportResult | None:
        """What became of an import job; None while it runs.

        Raises:
            NotFound: There is no such import.
            StudioError: The import failed, with the error that it failed with.
        """
        require(actor, Role.RESEARCHER)
        result = self._desk.result(job_id)
        if result is None:
            return None
        return replace(result, version=self.version(actor, result.version.id))

    def settle(self, jobs: Sequence[Job]) -> None:
        """Publish what finished import jobs made; jobs of other kinds are passed over."""
        for job in jobs:
            if job.kind == KIND:
                self._desk.settle(job)

    def settle_again(self) -> None:
        """Publish what an earlier attempt could not: a locked database or a full disk passes."""
        self._desk.settle_unsettled()

    def list(self, actor: Actor) -> tuple[DatasetSummary, ...]:
        """Every dataset that the actor may use, with its newest version; the one that changed last first."""
        require(actor, *_READERS)
        return self._sight.summaries(actor)

    def versions(self, actor: Actor, dataset: str) -> tuple[DatasetVersion, ...]:
        """The versions of a dataset (by name or id), newest first.

        Raises:
            NotFound: There is no such dataset.
        """
        require(actor, *_READERS)
        found = self._sight.of(actor, self._store.versions(dataset))
        if not found:
            raise self._unknown(actor, dataset)
        return found

    def version(self, actor: Actor, reference: str) -> DatasetVersion:
        """A version by id, by ``name@3``, or the newest by name.

        Raises:
            NotFound: There is no such version, or the actor may not use it.
        """
        require(actor, *_READERS)
        name, number = split_reference(reference)
        if number is not None:
            found = self._store.numbered(name, number)
        else:
            found = self._store.by_id(reference) or self._store.newest(reference)
        seen = self._sight.one(actor, found)
        if seen is None:
            raise self._unknown(actor, reference)
        return seen

    def hidden(self, actor: Actor) -> frozenset[str]:
        """The ids of the versions that the actor may not use, so that what was made of them can be hidden."""
        require(actor, *EVERYONE)
        return self._sight.hidden(actor)

    def hides_name(self, actor: Actor, dataset: str) -> bool:
        """Whether a dataset is called that and the actor may not use it."""
        require(actor, *EVERYONE)
        return bool(self._store.versions(dataset)) and not self._sight.of(
            actor, self._store.versions(dataset)
        )

    def page(
        self, actor: Actor, version_id: str, split: Split, offset: int, limit: int, search: str = ""
    ) -> Page:
        """Some rows of a split; with ``search`` those that hold it in any text, whatever its case.

        Args:
            actor: Who asks.
            version_id: A version's id or reference.
            split: Which side.
            offset: 0-based place of the first row, among those that match.
            limit: At most so many rows, 1 to 1000.
            search: What to look for; empty for every row.

        Raises:
            NotFound: There is no such version.
            InvalidInput: Offset or limit is out of range.
        """
        require(actor, *_READERS)
        if offset < 0 or not 1 <= limit <= _PAGE_LIMIT:
            raise InvalidInput(
                f"There is no page of {limit} rows from {offset}.",
                f"Ask for 1 to {_PAGE_LIMIT} rows from 0 or later.",
            )
        return read_page(self.version(actor, version_id).file(split), offset, limit, search.strip())

    def report(self, actor: Actor, version_id: str) -> ImportReport | None:
        """The report of the import that made a version; None where no import made it.

        Raises:
            NotFound: There is no such version.
        """
        require(actor, *_READERS)
        version = self.version(actor, version_id)
        report = self._store.report(version.id)
        if report is None:
            return None
        rejects = version.directory / REJECTS
        return self._desk.report_of({**report, "rejects": str(rejects) if rejects.exists() else None})

    def rejects(self, actor: Actor, version_id: str) -> Path:
        """The file of the rows that an import set aside.

        Raises:
            NotFound: There is no such version, or nothing was set aside.
        """
        require(actor, Role.RESEARCHER)
        version = self.version(actor, version_id)
        path = version.directory / REJECTS
        if not path.exists():
            raise NotFound(f"No row of {version.reference} was set aside.")
        return path

    def prompts(self, actor: Actor, version_id: str) -> frozenset[str]:
        """The normalised prompts of a version, all splits (see ``canonical.prompt_key``).

        Raises:
            NotFound: There is no such version.
        """
        require(actor, Role.RESEARCHER)
        version = self.version(actor, version_id)
        return frozenset(prompt_key(row) for split in Split for row in read_rows(version.file(split)))

    def protect(self, actor: Actor, version_id: str, split: Split | None, purpose: str) -> None:
        """Keep the prompts of a split (None: of all) from being trained on, because they serve ``purpose``.

        Doing it again changes nothing.

        Raises:
            NotFound: There is no such version.
        """
        require(actor, Role.RESEARCHER)
        version = self.version(actor, version_id)
        splits = (split,) if split else tuple(Split)
        if self._guard.protect(actor, version, splits, plain_text("The purpose", purpose, 100)):
            self._audit.record(actor, "protected", Node("dataset_version", version.id), purpose)

    def protected(self, actor: Actor, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Those of some prompt keys (see ``canonical.prompt_key``) that must not be trained on, and why."""
        require(actor, *_READERS)
        return self._guard.protected(actor, keys)

    def protected_in(self, actor: Actor, version_id: str) -> InvalidInput | None:
        """Why a version must not be trained on (which prompts, and what protects them); None if it may.

        Raises:
            NotFound: There is no such version.
        """
        require(actor, *_READERS)
        return self._guard.refusal_of(actor, self.version(actor, version_id))

    def trainable(self, actor: Actor, name: str, rows: Iterable[Row], *, leave_out: bool) -> Iterator[Row]:
        """Those of ``rows`` that may be trained on; errors call them ``name``.

        Raises:
            InvalidInput: A prompt is protected and is not to be left out.
        """
        require(actor, *_READERS)
        kept, _ = self._guard.clear(actor, name, {Split.TRAIN: [*rows]}, leave_out=leave_out)
        return iter(kept[Split.TRAIN])

    def create(self, actor: Actor, new: NewVersion, *, leave_out_protected: bool = False) -> DatasetVersion:
        """Make a version of rows that the studio made; the same content again is the same version.

        Raises:
            InvalidInput: A row is not canonical, a prompt is on both sides, there is no row, or a protected
                prompt would be trained on and is not to be left out.
            NotFound: A parent does not exist.
            Conflict: The dataset holds rows of another kind, or is not the actor's to add to.
        """
        require(actor, Role.RESEARCHER)
        parents = tuple(self.version(actor, reference) for reference in new.parents)
        new, checked = self._guard.cleared(actor, new, leave_out=leave_out_protected)
        staging = self._staging()
        try:
            draft = write_version(new, checked, staging, tuple(parent.id for parent in parents))
            return self._publish(actor, draft, staging, "created")
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def join(
        self,
        actor: Actor,
        dataset: str,
        references: tuple[str, ...],
        seed: int = 0,
        *,
        leave_out_protected: bool = False,
    ) -> DatasetVersion:
        """Make one version of several: each row once, in an order drawn by ``seed``.

        A prompt that is held out in one parent is held out in the result, wherever its rows come from.

        Raises:
            InvalidInput: Nothing is given to join, the kinds differ, or a protected prompt would be trained
                on and is not to be left out.
            NotFound: A version does not exist.
            Conflict: The dataset holds rows of another kind, or is not the actor's to add to.
        """
        require(actor, Role.RESEARCHER)
        check_name(dataset)
        found = {version.id: version for version in (self.version(actor, name) for name in references)}
        staging, shield = self._staging(), self._guard.shield()
        try:
            draft = write_join(dataset, tuple(found.values()), staging, seed, shield)
            if shield.met and not leave_out_protected:
                raise self._guard.refusal(actor, dataset, shield.met)
            return self._publish(actor, draft, staging, "joined")
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def build_preferences(
        self,
        actor: Actor,
        dataset: str,
        judgements: Sequence[Judgement],
        opinions: Sequence[Opinion],
        settings: PreferenceSettings,
        join: tuple[str, ...] = (),
        *,
        leave_out_protected: bool = False,
    ) -> PreferenceResult:
        """Make a preference version of verdicts, joined by imported pairs; see ``preferences``.

        Raises:
            InvalidInput: No pair remains (with the report as details), a version to join holds no pairs, or
                a protected prompt would be trained on and is not to be left out.
            NotFound: A version to join does not exist.
            Conflict: The dataset holds rows of another kind.
        """
        require(actor, Role.RESEARCHER)
        builder = PreferenceBuilder(self, self._lineage, self._audit, self._guard)
        return builder.build(
            actor, dataset, judgements, opinions, settings, join, leave_out_protected=leave_out_protected
        )

    def pseudonymise(self, actor: Actor, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` where ``name`` stands as who made something; for admins."""
        require(actor)
        self._store.pseudonymise(name, pseudonym)
        self._protections.pseudonymise(name, pseudonym)

    def _publish(self, actor: Actor, draft: Draft, staging: Path, verb: str) -> DatasetVersion:
        version, new = self._store.publish(draft, staging, actor)
        node = Node("dataset_version", version.id)
        self._lineage.link(
            Edge(node, Node("dataset_version", parent), "derived_from") for parent in draft.parents
        )
        self._audit.record(actor, verb if new else f"{verb} again", node, version.reference)
        return version

    def _staging(self) -> Path:
        return self._directory / ".staging" / new_id("make")

    def _unknown(self, actor: Actor, reference: str) -> NotFound:
        names = [summary.name for summary in self._sight.summaries(actor)][:10]
        known = f"There are: {', '.join(names)}." if names else "Import a dataset first."
        return NotFound(f"There is no dataset or version {reference}.", known)
