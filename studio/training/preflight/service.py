"""Checks recipes before they run, and shows the rows as they will be trained.

The invariants: a dataset version is tokenised once for a model and a way of rendering, by one job, however
often it is asked about; what is shown comes from the files that the trainer reads; disk, memory, GPUs and
protected prompts are looked at each time. Nothing here keeps a run from starting: whoever starts one asks
``refusal`` first.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core.actors import SYSTEM, Actor, Role, require
from studio.core.database import Database
from studio.core.errors import InvalidInput, NotFound
from studio.datasets import DatasetVersion, Split
from studio.datasets.protection_store import ProtectionStore
from studio.jobs import Job, JobSpec
from studio.training.memory import MemoryForecast
from studio.training.plan import Planner
from studio.training.preflight.machine_checks import Machine
from studio.training.preflight.outlook import check_outlook, outlook, padding_share
from studio.training.preflight.pages import token_page
from studio.training.preflight.prompt_checks import check_between, check_protected
from studio.training.preflight.recipe_checks import check_recipe
from studio.training.preflight.records import (
    Finding,
    Preflight,
    PreflightState,
    Severity,
    SourceFacts,
    TokenPage,
)
from studio.training.preflight.row_checks import TokenFolder, check_rows
from studio.training.preflight.store import Asked, PreflightStore
from studio.training.preflight.subject import Subject, look_up
from studio.training.recipes import dump_recipe, parse_recipe, recipe_text
from studio.training.records import Stage

if TYPE_CHECKING:
    from studio.datasets import DatasetService
    from studio.jobs import JobService
    from studio.registry import RegistryService

KIND = "preflight"
WORKER = "studio.training.preflight.worker"
_MOST_ROWS = 100
_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


_NOT_LOOKED = "The rows were not looked at, or their token files were removed meanwhile. Check again."


class PreflightService:
    """Pre-flights.

    Args:
        database: Knows the protected prompts.
        home: The studio's home; token files lie in ``home/tokens``.
        jobs: Runs the tokenising.
        datasets: Knows what there is to learn from.
        registry: Knows the models.
        planner: Says what else keeps a recipe from being started; None makes one.
        machine: Looks at disk, memory and GPUs; None looks at this one.
    """

    def __init__(
        self,
        database: Database,
        home: Path,
        jobs: JobService,
        datasets: DatasetService,
        registry: RegistryService,
        planner: Planner | None = None,
        machine: Machine | None = None,
    ) -> None:
        self._protections = ProtectionStore(database)
        self._store = PreflightStore(home)
        self._jobs = jobs
        self._datasets = datasets
        self._registry = registry
        self._planner = planner or Planner(datasets, registry)
        self._machine = machine or Machine(home, MemoryForecast(database).estimate)
        self._submitting = threading.Lock()

    def check(self, actor: Actor, stage: Stage, recipe_text: str, devices: tuple[int, ...] = ()) -> Preflight:
        """What is known of a recipe now; where its rows were not looked at yet, a job begins to.

        Args:
            actor: Who asks.
            stage: The recipe's stage.
            recipe_text: The recipe as YAML.
            devices: GPUs that the run is to have by number.

        Raises:
            InvalidInput: The text is no recipe.
        """
        require(actor, Role.RESEARCHER)
        recipe = parse_recipe(stage, recipe_text)
        subject, missing = look_up(actor, recipe, self._datasets, self._registry)
        if subject is None:
            return Preflight(
                "", PreflightState.FAILED, stage, recipe_text, missing, reason=missing[0].message
            )
        refused = self._refused(actor, subject)
        asked = Asked(_id(actor, subject), stage, _exact(subject), refused, {})
        known = self._store.asked(asked.id)
        asked = replace(asked, jobs=self._tokenise(actor, subject, known.jobs if known else {}))
        self._store.keep(asked)
        return self._answer(actor, asked, subject, devices)

    def get(self, actor: Actor, preflight_id: str) -> Preflight:
        """A pre-flight as it stands now.

        Raises:
            NotFound: There is no such pre-flight (any more), or what it is about is not the actor's to use.
        """
        require(actor, Role.RESEARCHER)
        asked, subject = self._known(actor, preflight_id)
        return self._answer(actor, asked, subject)

    def rows(
        self,
        actor: Actor,
        preflight_id: str,
        split: Split,
        offset: int,
        count: int,
        search: str = "",
        source: int = 0,
    ) -> TokenPage:
        """Some rows token by token, as they will be trained.

        Args:
            actor: Who asks.
            preflight_id: A pre-flight whose rows were looked at.
            split: Which side.
            offset: 0-based place of the first row, among those that match.
            count: At most so many rows, 1 to 100.
            search: Text that the rows hold, whatever its case; empty for every row.
            source: Which of the recipe's datasets; 0 is the main one.

        Raises:
            NotFound: There is no such pre-flight or dataset.
            InvalidInput: Offset or count is out of range, or the rows were not looked at yet.
        """
        require(actor, Role.RESEARCHER)
        if offset < 0 or not 1 <= count <= _MOST_ROWS:
            raise InvalidInput(
                f"There is no page of {count} rows from {offset}.",
                f"Ask for 1 to {_MOST_ROWS} rows from 0 or later.",
            )
        _, subject = self._known(actor, preflight_id)
        if not 0 <= source < len(subject.datasets):
            raise NotFound(f"This recipe has no dataset {source}.", "The main one is 0.")
        folder = self._store.folder(subject.digests[source])
        if folder is None:
            raise InvalidInput("The rows were not looked at yet.", "Wait for the check, or start it again.")
        version = subject.datasets[source]
        named = TokenFolder(folder, version.reference, subject.field_of(source))
        page = token_page(named, version.file(split), subject.recipe, split, offset, count, search.strip())
        return replace(page, sources=tuple(one.reference for one in subject.datasets))

    def refusal(
        self, actor: Actor, stage: Stage, recipe_text: str, devices: tuple[int, ...] = ()
    ) -> InvalidInput | None:
        """Why a run of this recipe should not start, as far as that is known now; begins nothing.

        Raises:
            InvalidInput: The text is no recipe.
        """
        require(actor, Role.RESEARCHER)
        recipe = parse_recipe(stage, recipe_text)
        subject, errors = look_up(actor, recipe, self._datasets, self._registry)
        if subject is not None:
            found = self._findings(actor, subject, self._named(subject), (), devices)
            errors = tuple(one for one in found if one.severity is Severity.ERROR)
        if not errors:
            return None
        lines = (f"{one.field or 'run'}: {one.message} {one.todo}".strip() for one in errors)
        return InvalidInput(
            "The pre-flight of this run found errors.",
            "Mend the fields below and check again; nothing was started.",
            tuple(lines),
        )

    def longest_row(self, actor: Actor, stage: Stage, recipe_text: str) -> tuple[int | None, float]:
        """Tokens of the longest sequence that a run will see, and the share of its tokens that is learnt.

        None and 1 where the rows were not looked at.

        Raises:
            InvalidInput: The text is no recipe.
        """
        require(actor, Role.RESEARCHER)
        recipe = parse_recipe(stage, recipe_text)
        subject, _ = look_up(actor, recipe, self._datasets, self._registry)
        return _extent(subject, self._named(subject)) if subject else (None, 1.0)

    def settle(self, jobs: tuple[Job, ...]) -> None:
        """Sweep up after jobs that ended and prune old token files; doing it again changes nothing."""
        ended = [job for job in jobs if job.kind == KIND]
        for job in ended:
            self._store.sweep(job.id)
        if ended:
            self._store.prune()

    def _answer(
        self, actor: Actor, asked: Asked, subject: Subject, devices: tuple[int, ...] = ()
    ) -> Preflight:
        named = self._named(subject)
        made = Preflight(
            id=asked.id,
            state=PreflightState.DONE,
            stage=asked.stage,
            recipe=dump_recipe(subject.recipe),
            findings=self._findings(actor, subject, named, asked.refused, devices),
        )
        if not named:
            return self._waiting(made, asked, subject)
        sources = tuple(
            SourceFacts(folder.source, version.id, folder.facts(subject.recipe))
            for folder, version in zip(named, subject.datasets, strict=True)
        )
        found = outlook(subject.recipe, [one.splits[Split.TRAIN] for one in sources])
        padding = padding_share(named[0].profiles[Split.TRAIN], subject.recipe)
        return replace(made, sources=sources, steps=found.steps, padding=padding)

    def _waiting(self, made: Preflight, asked: Asked, subject: Subject) -> Preflight:
        """A pre-flight whose rows are not all there: how far the job is, or why there will be none."""
        for digest in subject.digests:
            if self._store.folder(digest) is not None:
                continue
            job = self._job(asked.jobs.get(digest, ""))
            if job is not None and not job.state.final:
                progress = self._jobs.progress(SYSTEM, job.id)
                return replace(made, state=PreflightState.PENDING, progress=progress)
            reason = job.reason if job else ""
            said = f"The rows could not be looked at. {reason}".strip() if reason else _NOT_LOOKED
            return replace(made, state=PreflightState.FAILED, reason=said)
        return made

    def _findings(
        self,
        actor: Actor,
        subject: Subject,
        named: tuple[TokenFolder, ...],
        refused: tuple[str, ...],
        devices: tuple[int, ...],
    ) -> tuple[Finding, ...]:
        found = list(check_recipe(subject))
        for folder in named:
            found += check_rows(folder, subject.recipe)
            found += check_protected(actor, folder, self._protections, self._datasets)
        if named:
            facts = [folder.facts(subject.recipe)[Split.TRAIN] for folder in named]
            found += check_between(named)
            found += check_outlook(subject.recipe, outlook(subject.recipe, facts))
        found += self._machine.check(subject, *_extent(subject, named), devices)
        said = {one.field for one in found if one.severity is Severity.ERROR}
        lines = (line.partition(": ") for line in refused)
        found += (Finding(Severity.ERROR, field, text, "") for field, _, text in lines if field not in said)
        return tuple(sorted(found, key=lambda one: _ORDER[one.severity]))

    def _refused(self, actor: Actor, subject: Subject) -> tuple[str, ...]:
        try:
            self._planner.plan(actor, subject.exact)
        except InvalidInput as error:
            return error.details or (f"recipe: {error.message}",)
        return ()

    def _known(self, actor: Actor, preflight_id: str) -> tuple[Asked, Subject]:
        asked = self._store.asked(preflight_id)
        subject = None
        if asked is not None:
            recipe = parse_recipe(asked.stage, asked.recipe)
            subject, _ = look_up(actor, recipe, self._datasets, self._registry)
        if asked is None or subject is None:
            raise NotFound(f"There is no pre-flight {preflight_id[:60]}.", "Check the recipe again.")
        return asked, subject

    def _tokenise(self, actor: Actor, subject: Subject, known: dict[str, str]) -> dict[str, str]:
        """The job of each token folder that is not there yet, started where there is none under way."""
        if any(_hopeless(one) for one in check_recipe(subject)):
            return {}
        jobs: dict[str, str] = {}
        with self._submitting:
            for version, digest in zip(subject.datasets, subject.digests, strict=True):
                if self._store.folder(digest) is None:
                    jobs[digest] = self._job_for(actor, subject, version, digest)
        return known | jobs

    def _job_for(self, actor: Actor, subject: Subject, version: DatasetVersion, digest: str) -> str:
        attempt = 1
        while True:
            job_id = f"tokens-{digest}-{attempt}"
            job = self._job(job_id)
            if job is None:
                break
            if not job.state.final:
                return job_id
            attempt += 1
        payload: dict[str, object] = {
            "target": str(self._store.tokens / digest),
            "staging": str(self._store.staging(job_id)),
            "data": str(version.directory),
            "base": str(subject.base.path),
            "stage": subject.recipe.STAGE.value,
            "recipe": _rendering(subject, version),
        }
        spec = JobSpec(KIND, WORKER, version.name, payload)
        return self._jobs.submit(actor, spec, job_id=job_id).id

    def _named(self, subject: Subject) -> tuple[TokenFolder, ...]:
        """The token folders in the order of the datasets; none where one of them is not there."""
        pairs = zip(subject.datasets, subject.digests, strict=True)
        found = tuple(
            TokenFolder(path, version.reference, subject.field_of(place))
            for place, (version, digest) in enumerate(pairs)
            if (path := self._store.folder(digest)) is not None
        )
        return found if len(found) == len(subject.datasets) else ()

    def _job(self, job_id: str) -> Job | None:
        try:
            return self._jobs.get(SYSTEM, job_id)
        except NotFound:
            return None


def _id(actor: Actor, subject: Subject) -> str:
    """The same for the same recipe on the same versions, asked about by the same person."""
    parts = (actor.name, subject.recipe.STAGE.value, _exact(subject))
    return f"preflight_{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]}"


def _exact(subject: Subject) -> str:
    """The recipe with exact versions and without what nobody chose: findings tell the two apart."""
    return recipe_text(subject.exact.model_dump(mode="json", exclude_unset=True))


def _rendering(subject: Subject, version: DatasetVersion) -> str:
    """The part of the recipe that decides what tokens rows become, so that equal work is an equal job."""
    given: dict[str, object] = {"model": subject.base.id, "dataset": version.id}
    if subject.recipe.STAGE is Stage.SFT:
        given["assistant_only"] = getattr(subject.recipe, "assistant_only", True)
    return recipe_text(given)


def _hopeless(finding: Finding) -> bool:
    """Whether rows of this dataset cannot be tokenised for the stage at all."""
    named = finding.field == "dataset" or finding.field.startswith("mix.")
    return finding.severity is Severity.ERROR and named


def _extent(subject: Subject, named: tuple[TokenFolder, ...]) -> tuple[int | None, float]:
    """Tokens of the longest sequence and the share that is learnt; None and 1 where nothing was counted."""
    recipe = subject.recipe
    facts = [folder.facts(recipe)[Split.TRAIN] for folder in named]
    tokens = sum(one.tokens for one in facts)
    if not tokens:
        return None, 1.0
    longest = max(one.lengths.longest for one in facts)
    return min(longest, recipe.max_length), sum(one.learnt_tokens for one in facts) / tokens
