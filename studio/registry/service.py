"""The registry as the rest of the studio sees it.

A version never changes once it is registered: its files are published whole, its digest is taken then,
and registering the same thing again returns the version that is there. What the registry does not do
is watch a registered local folder: whoever edits the files in it afterwards changes the model.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from studio.core import (
    LOCAL_ADMIN,
    Access,
    Actor,
    Audit,
    Conflict,
    Database,
    Edge,
    Forbidden,
    InvalidInput,
    Lineage,
    Node,
    NotFound,
    Role,
    new_id,
    read_json,
    require,
)
from studio.core.actors import EVERYONE
from studio.jobs import Job, JobService, JobSpec, JobState
from studio.registry.embedded import EMBEDDED_LICENCE, EMBEDDED_NAME, EMBEDDED_ORIGIN
from studio.registry.folders import inspect_adapter, inspect_base, readable_path, task_of
from studio.registry.names import check_alias, check_name
from studio.registry.records import Alias, BaseSource, ModelKind, ModelVersion, NewWeights
from studio.registry.sight import Sight, edges_of, node_of
from studio.registry.staging import scratch_folder
from studio.registry.store import Entry, RegistryStore

_EMBEDDED_JOB = "embedded_model"
_DOWNLOAD_JOB = "model_download"
_JOBS = (_EMBEDDED_JOB, _DOWNLOAD_JOB)

_log = logging.getLogger(__name__)


class RegistryService:
    """Registers models and finds them again.

    Args:
        database: Where versions and aliases are kept.
        home: The studio's home; downloaded and converted models go to ``models`` in it.
        jobs: Runs the download and the conversion.
        lineage: Learns what each version came from.
        audit: Learns who registered and moved what.
        access: Who may use which model.
    """

    def __init__(
        self,
        database: Database,
        home: Path,
        jobs: JobService,
        lineage: Lineage,
        audit: Audit,
        access: Access | None = None,
    ) -> None:
        access = access or Access(database, audit)
        self._store = RegistryStore(database, home, access)
        self._sight = Sight(self._store, access, lineage)
        self._home = home
        self._models = home / "models"
        self._jobs = jobs
        self._lineage = lineage
        self._audit = audit
        self._embedding = threading.Lock()

    def register(self, actor: Actor, source: BaseSource) -> ModelVersion | Job:
        """Register a folder at once, or begin to download a Hub id: whichever ``location`` is.

        Raises:
            InvalidInput: See ``register_base`` and ``start_download``.
            Conflict: The name is an alias.
        """
        require(actor, Role.RESEARCHER)
        with readable_path(source.location):
            path = Path(source.location).expanduser()
            local = path.is_absolute() or source.location.startswith(".") or path.is_dir()
        return self.register_base(actor, source) if local else self.start_download(actor, source)

    def register_base(self, actor: Actor, source: BaseSource) -> ModelVersion:
        """Register the model in a local folder, which stays where it is.

        Raises:
            InvalidInput: The folder does not hold a complete model in safe formats.
            Forbidden: The folder is one of the studio's own.
            Conflict: The name is an alias, or is taken by a private model.
        """
        require(actor, Role.RESEARCHER)
        with readable_path(source.location):
            folder = Path(source.location).expanduser().resolve()
            self._require_outside(actor, folder)
            name = self._free_name(actor, source.name or folder.name)
            facts = inspect_base(folder)
        found = {"path": str(folder), "digest": facts.digest, "parameters": facts.parameters}
        return self._add_base(actor, name, source.licence, f"Folder {folder}", found)

    def start_download(self, actor: Actor, source: BaseSource) -> Job:
        """Begin to fetch a model from the Hugging Face Hub; ``settle`` registers it.

        Raises:
            InvalidInput: The id is not of the form ``organisation/name``.
            Conflict: The name is an alias.
        """
        require(actor, Role.RESEARCHER)
        if source.location.count("/") != 1 or not all(source.location.split("/")):
            raise InvalidInput(
                f"{source.location!r} is no id on the Hub.",
                "Give it as organisation/name, or a folder's path.",
            )
        name = self._free_name(actor, source.name or source.location.split("/")[1])
        payload = {"repository": source.location, "revision": source.revision, "name": name}
        payload |= {"licence": source.licence}
        return self._submit(actor, _DOWNLOAD_JOB, "studio.registry.download_job", payload)

    def start_embedded(self, actor: Actor) -> Job | None:
        """Begin to unpack the model that comes with the studio; None if it is registered.

        While a job for it is under way, that job is returned.
        """
        require(actor, Role.RESEARCHER)
        with self._embedding:
            if self._store.newest(EMBEDDED_NAME) is not None:
                return None
            under_way = [job for job in self._jobs.list(actor, _EMBEDDED_JOB) if not job.state.final]
            if under_way:
                return under_way[0]
            payload = {
                "target": str(self._models / EMBEDDED_NAME),
                "name": EMBEDDED_NAME,
                "licence": EMBEDDED_LICENCE,
                "origin": EMBEDDED_ORIGIN,
            }
            return self._submit(actor, _EMBEDDED_JOB, "studio.registry.embedded_job", payload)

    def register_weights(self, actor: Actor, new: NewWeights) -> ModelVersion:
        """Register what a run made, or a checkpoint of it; doing it twice gives the same version.

        Raises:
            InvalidInput: The files are not what the kind says, or the base is an adapter itself.
            NotFound: The base or the parent is not registered.
            Conflict: The name is an alias.
        """
        require(actor, Role.RESEARCHER)
        existing = self._store.by_run(new.run_id) if new.step is None else None
        if existing is not None:
            return existing
        entry = self._weights_entry(actor, new)
        version, added = self._store.add(actor, entry, self._made_of(new))
        if added:
            self._audit.record(actor, "registered", node_of(version.id), version.reference)
        # Outside the branch above: a crash between the two leaves edges to be added the next time.
        run = Edge(node_of(version.id), Node("run", new.run_id), "made_by")
        self._lineage.link((*edges_of(version), run))
        return version

    def list(self, actor: Actor) -> tuple[ModelVersion, ...]:
        """Every version that the actor may use, newest first."""
        require(actor, *EVERYONE)
        return self._sight.of(actor, self._store.all())

    def hidden(self, actor: Actor) -> frozenset[str]:
        """The ids of the versions that the actor may not use, so that what uses them can be hidden."""
        require(actor, *EVERYONE)
        return self._sight.hidden(actor)

    def hides_name(self, actor: Actor, name: str) -> bool:
        """Whether a model is called that and the actor may not use it."""
        require(actor, *EVERYONE)
        return self._sight.hides_name(actor, name)

    def admit(self, actor: Actor, name: str, base_id: str, made_of: Iterable[Node] = ()) -> None:
        """Refuse early what ``register_weights`` would refuse at the end of a run.

        Args:
            actor: Who wants a model of that name.
            name: The name.
            base_id: The version that training goes on from.
            made_of: The datasets that it learns from.

        Raises:
            InvalidInput: Nothing can have the name.
            Conflict: It is an alias, or not the actor's to add to.
        """
        require(actor, Role.RESEARCHER)
        source = Node("model", self._existing(base_id).model_id)
        self._sight.admit(actor, self._free_name(actor, name), (source, *made_of))

    def version(self, actor: Actor, reference: str) -> ModelVersion:
        """The version that an id, ``name@number``, an alias or a name (its newest) stands for.

        Raises:
            NotFound: Nothing is called that that the actor may use.
        """
        require(actor, *EVERYONE)
        found = self._resolve(reference)
        seen = self._sight.of(actor, (found,) if found else ())
        if not seen:
            raise _unknown(reference)
        return seen[0]

    def alias(self, actor: Actor, name: str, reference: str) -> Alias:
        """Let ``name`` stand for a version from now on.

        Raises:
            InvalidInput: The name is not a possible one.
            Conflict: A model has that name.
            NotFound: The reference stands for nothing.
        """
        require(actor, Role.RESEARCHER)
        if self._store.newest(check_alias(name)) is not None:
            raise Conflict(f"A model is called {name!r} already.", "Choose another name for the alias.")
        version = self.version(actor, reference)
        before = self._store.by_alias(name)
        if before is not None and not self._sight.of(actor, (before,)):
            raise Conflict(f"The name {name!r} is taken.", "Choose another name for the alias.")
        moved = self._store.move(name, version.id)
        was = f" (was {before.reference})" if before else ""
        self._audit.record(actor, "moved", Node("alias", name), f"to {version.reference}{was}")
        return moved

    def aliases(self, actor: Actor) -> tuple[Alias, ...]:
        """Every alias of a version that the actor may use, by name."""
        require(actor, *EVERYONE)
        hidden = self.hidden(actor)
        return tuple(alias for alias in self._store.aliases() if alias.version_id not in hidden)

    def ancestry(self, actor: Actor, reference: str) -> tuple[ModelVersion, ...]:
        """The version, what it was trained on from, and so on to its base; private ones are left out.

        Raises:
            NotFound: The reference stands for nothing.
        """
        chain = [self.version(actor, reference)]
        while (parent := chain[-1].parent_id) is not None:
            chain.append(self._existing(parent))
        return self._sight.of(actor, chain)

    def pseudonymise(self, actor: Actor, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` where ``name`` stands as who registered something; for admins."""
        require(actor)
        self._store.pseudonymise(name, pseudonym)

    def settle(self, jobs: tuple[Job, ...]) -> None:
        """Register what finished downloads and conversions made; doing it again changes nothing."""
        for job in jobs:
            payload = read_json(job.directory / "payload.json") if job.kind in _JOBS else None
            if payload is None:
                continue
            if job.state is JobState.SUCCEEDED:
                self._settle(job, payload)
            else:
                _sweep(job, Path(payload["target"]))

    def _settle(self, job: Job, payload: dict[str, Any]) -> None:
        result = read_json(job.directory / "result.json")
        if result is None or not Path(result["path"]).is_dir():
            return
        path = Path(result["path"])
        # Jobs from before this was kept are from before there were accounts.
        actor = self._store.asked_by(job.id) or LOCAL_ADMIN
        licence = payload["licence"] or result.get("licence", "")
        origin = result.get("origin") or payload["origin"]
        try:
            version = self._add_base(actor, payload["name"], licence, origin, result)
        except Conflict as error:
            # The name became somebody's private one meanwhile.
            _log.warning("what the job %s fetched was not registered: %s", job.id, error)
            shutil.rmtree(path, ignore_errors=True)
            return
        if version.path != path:
            # The same content was there already: what was fetched again is of no use.
            shutil.rmtree(path, ignore_errors=True)

    def _submit(self, actor: Actor, kind: str, module: str, payload: dict[str, Any]) -> Job:
        job_id = new_id("job")
        # Not in the payload, which stays as it was when a person is erased.
        self._store.add_job(job_id, actor)
        full = {"target": str(self._models / job_id), **payload}
        return self._jobs.submit(actor, JobSpec(kind, module, payload["name"], full), job_id=job_id)

    def _add_base(
        self, actor: Actor, name: str, licence: str, origin: str, found: dict[str, Any]
    ) -> ModelVersion:
        entry = Entry(
            name=name,
            kind=ModelKind.BASE,
            path=Path(found["path"]),
            digest=found["digest"],
            base_id=None,
            parent_id=None,
            run_id=None,
            licence=licence,
            origin=origin,
            parameters=found["parameters"],
            created_by=actor.name,
            task=task_of(Path(found["path"])),
        )
        version, added = self._store.add(actor, entry)
        if added:
            self._audit.record(actor, "registered", node_of(version.id), f"{version.reference}: {origin}")
        return version

    def _weights_entry(self, actor: Actor, new: NewWeights) -> Entry:
        # Whoever started the run could use them then.
        base, parent = self._existing(new.base_id), self._existing(new.parent_id)
        if base.kind is ModelKind.ADAPTER:
            raise InvalidInput(
                f"{base.reference} is an adapter and cannot be a base.",
                "Give the base that it is applied to.",
            )
        path = new.path.resolve()
        adapter = new.kind is ModelKind.ADAPTER
        return Entry(
            name=self._free_name(actor, new.name),
            kind=new.kind,
            path=path,
            digest=inspect_adapter(path) if adapter else inspect_base(path).digest,
            base_id=base.id if adapter else None,
            parent_id=parent.id,
            run_id=new.run_id if new.step is None else None,
            licence=base.licence,
            origin=f"Run {new.run_id}" if new.step is None else f"Step {new.step} of run {new.run_id}",
            parameters=new.parameters,
            created_by=actor.name,
            task=task_of(path),
        )

    def _made_of(self, new: NewWeights) -> tuple[Node, ...]:
        models = {self._existing(source).model_id for source in (new.base_id, new.parent_id)}
        return (*(Node("model", model) for model in sorted(models)), *new.made_of)

    def _free_name(self, actor: Actor, name: str) -> str:
        if self._store.by_alias(check_name(name)) is not None:
            raise Conflict(f"{name!r} is an alias.", "Choose another name for the model.")
        if self.hides_name(actor, name):
            raise Conflict(f"The name {name} is taken.", "Choose another name.")
        return name

    def _require_outside(self, actor: Actor, folder: Path) -> None:
        # The studio's own folders hold what is registered, private models among it.
        if actor.role is not Role.ADMIN and folder.is_relative_to(self._home.resolve()):
            raise Forbidden(
                f"{folder} is one of the studio's own folders.",
                "What is in it is registered already; give a folder from elsewhere.",
            )

    def _resolve(self, reference: str) -> ModelVersion | None:
        name, mark, number = reference.rpartition("@")
        if mark:
            # Nine digits are more versions than a name will have, and fewer than SQLite can hold.
            whole = number.isascii() and number.isdecimal() and len(number) < 10
            return self._store.numbered(name, int(number)) if whole else None
        store = self._store
        return store.by_id(reference) or store.by_alias(reference) or store.newest(reference)

    def _existing(self, version_id: str) -> ModelVersion:
        """A version whoever asks; for what the studio does with it."""
        found = self._store.by_id(version_id)
        if found is None:
            raise _unknown(version_id)
        return found


def _sweep(job: Job, target: Path) -> None:
    """Remove what a job left that did not succeed; the embedded model's folder serves the next try."""
    shutil.rmtree(scratch_folder(target, job.id), ignore_errors=True)
    if job.kind == _DOWNLOAD_JOB:
        shutil.rmtree(target, ignore_errors=True)


def _unknown(reference: str) -> NotFound:
    return NotFound(
        f"No model is called {reference[:100]!r}.",
        "Use an id, a name, name@number or an alias from the list of models.",
    )
