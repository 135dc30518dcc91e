"""Installs, lists and removes the other engines; installing is a job like any other."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core.actors import EVERYONE, SYSTEM, Actor, require
from studio.core.audit import Audit
from studio.core.errors import Conflict
from studio.core.files import read_json
from studio.core.lineage import Node
from studio.jobs import Job, JobSpec
from studio.training.engines.external import environments
from studio.training.engines.external.environments import CATALOGUE, Engine

if TYPE_CHECKING:
    from studio.jobs import JobService

KIND = "engine"
WORKER = "studio.training.engines.external.installing"
_GB = 10**9


class EngineState(StrEnum):
    """Whether an engine can be used."""

    ABSENT = "absent"
    INSTALLING = "installing"
    INSTALLED = "installed"


@dataclass(frozen=True)
class InstalledEngine:
    """How it stands with an engine; ``packages`` are the versions in it, ``job_id`` what installs it."""

    engine: Engine
    state: EngineState
    folder: Path
    packages: dict[str, str]
    job_id: str = ""


class EngineService:
    """The engines of a studio.

    Args:
        home: The studio's home; environments lie in ``home/engines``.
        jobs: Runs the installations.
        audit: Gets what was done.
    """

    def __init__(self, home: Path, jobs: JobService, audit: Audit) -> None:
        self._home = home
        self._jobs = jobs
        self._audit = audit
        self._submitting = threading.Lock()

    def list(self, actor: Actor) -> tuple[InstalledEngine, ...]:
        """Every engine that there is, and whether it is installed."""
        require(actor, *EVERYONE)
        return tuple(self._stand(engine) for engine in CATALOGUE.values())

    def install(self, actor: Actor, name: str, torch_index: str = "") -> Job:
        """Begin to install an engine; where that is under way, its job. For admins.

        Args:
            actor: Who asks.
            name: The engine.
            torch_index: The package index that torch is taken from; empty takes pip's own.

        Raises:
            InvalidInput: There is no such engine.
            Conflict: It is installed, or there is no room for it.
        """
        require(actor)
        engine = environments.known(name)
        with self._submitting:
            stand = self._stand(engine)
            if stand.state is EngineState.INSTALLING:
                return self._jobs.get(SYSTEM, stand.job_id)
            self._refuse(engine, stand)
            payload: dict[str, object] = {
                "engine": name,
                "home": str(self._home),
                "torch_index": torch_index,
            }
            job = self._jobs.submit(actor, JobSpec(KIND, WORKER, name, payload))
        self._audit.record(actor, "installing", Node("engine", name), engine.version)
        return job

    def remove(self, actor: Actor, name: str) -> None:
        """Remove an engine; what it made stays. For admins.

        Raises:
            InvalidInput: There is no such engine.
            Conflict: It is being installed, or a run that wants it is under way.
        """
        require(actor)
        engine = environments.known(name)
        stand = self._stand(engine)
        if stand.state is EngineState.INSTALLING:
            raise Conflict(f"{engine.title} is being installed.", "Stop that job first.")
        if self._wanted(name):
            raise Conflict(f"A run by {engine.title} is under way or waits.", "Stop it, or wait for it.")
        environments.clear(stand.folder)
        self._audit.record(actor, "removed", Node("engine", name), engine.version)

    def _stand(self, engine: Engine) -> InstalledEngine:
        found = environments.find(self._home, engine.name)
        folder = engine.folder(self._home)
        if found is not None:
            return InstalledEngine(engine, EngineState.INSTALLED, folder, found.packages)
        for job in self._jobs.list(SYSTEM):
            if job.kind == KIND and job.subject == engine.name and not job.state.final:
                return InstalledEngine(engine, EngineState.INSTALLING, folder, {}, job.id)
        return InstalledEngine(engine, EngineState.ABSENT, folder, {})

    def _refuse(self, engine: Engine, stand: InstalledEngine) -> None:
        if stand.state is EngineState.INSTALLED:
            raise Conflict(
                f"{engine.title} {engine.version} is installed.",
                f"Remove it first to install it anew: python -m studio engines remove {engine.name}",
            )
        free = shutil.disk_usage(self._home).free
        if free < engine.room:
            raise Conflict(
                f"{engine.title} takes up to {engine.room / _GB:.0f} GB, and {free / _GB:.1f} GB are free.",
                "Make room first.",
            )

    def _wanted(self, name: str) -> bool:
        for job in self._jobs.list(SYSTEM):
            if job.kind == "training" and not job.state.final:
                payload = read_json(job.directory / "payload.json") or {}
                if f"engine: {name}\n" in str(payload.get("recipe", "")):
                    return True
        return False
