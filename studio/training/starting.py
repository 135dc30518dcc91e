"""How a run begins: its request is checked, written down, linked to what it uses, and handed to a job.

The invariants: one request starts one run, whoever sends it how often; nothing is written down that the job
room would refuse.
"""

from __future__ import annotations

from dataclasses import replace

from studio.core import Actor, Conflict, InvalidInput, Node, new_id, now
from studio.core.text import plain_text
from studio.training.desk import RunDesk, edges_of
from studio.training.foresight import Foresight
from studio.training.plan import Plan, installed_packages
from studio.training.queue import RunQueue
from studio.training.recipes import Recipe, dump_recipe, parse_recipe
from studio.training.records import Run, StartRun
from studio.training.retry import same_recipe
from studio.training.store import Entry

_NAME_LIMIT = 100
_REQUEST_LIMIT = 200


class Starter:
    """Turns requests into runs."""

    def __init__(self, desk: RunDesk, foresight: Foresight, queue: RunQueue) -> None:
        self._desk = desk
        self._foresight = foresight
        self._queue = queue

    def begin(self, actor: Actor, request: StartRun, retry_of: str = "", sweep_id: str = "") -> Run:
        """Check a request and start its run; the same request id again gives the same run.

        Raises:
            InvalidInput: The recipe is wrong, names what does not exist or fit, or its pre-flight found
                errors; nothing was started.
            Conflict: The request id belongs to another recipe.
        """
        known = self._desk.store.by_request(plain_text("The request id", request.request_id, _REQUEST_LIMIT))
        recipe = parse_recipe(request.stage, request.recipe)
        if known is not None and not self._desk.seen(actor, (known,)):
            raise Conflict(f"The request {request.request_id!r} is taken.", "Use a new request id.")
        if known is None:
            known = self._add(actor, request, recipe, retry_of, sweep_id)
        # Compared as read today: the text of an older run lacks the fields that came after it.
        if not same_recipe(parse_recipe(known.stage, known.recipe), recipe):
            raise Conflict(
                f"The request {request.request_id!r} started {known.name} with another recipe.",
                "Use a new request id for a new run.",
            )
        return self._desk.shown(actor, self._desk.run(known))[0]

    def _add(self, actor: Actor, request: StartRun, recipe: Recipe, retry_of: str, sweep_id: str) -> Entry:
        plan = self._desk.planner.plan(actor, recipe)
        self._check(actor, request, recipe, retry_of)
        self._foresight.refuse_known(actor, plan, request.devices)
        entry = replace(self._entry(actor, request, plan), retry_of=retry_of, sweep_id=sweep_id)
        # Whatever the job room refuses (a GPU that is not there) is refused before anything is written.
        self._desk.jobs.check(actor, self._desk.spec(entry, plan))
        stored = self._desk.store.add(entry)
        if stored.id == entry.id:
            self._desk.lineage.link(edges_of(stored))
            self._desk.audit.record(actor, "started", Node("run", stored.id), stored.name)
            self._desk.submit(stored)
        return stored

    def _check(self, actor: Actor, request: StartRun, recipe: Recipe, retry_of: str) -> None:
        tried = self._desk.store.get(retry_of) if retry_of else None
        # What the earlier try waited for was allowed then; one of them may be hidden from who tries again.
        known = tried.after_runs if tried else ()
        errors = self._queue.check_after(actor, (key for key in request.after if key not in known))
        named = len(request.devices)
        if named and named != recipe.processes:
            errors.append(
                f"devices: {named} GPU{'s'[: named != 1]} for {recipe.processes} "
                f"process{'es' * (recipe.processes != 1)}; name one for each, or none."
            )
        if errors:
            raise InvalidInput(
                "This run cannot be started.", "Mend the fields below; nothing was started.", tuple(errors)
            )

    def _entry(self, actor: Actor, request: StartRun, plan: Plan) -> Entry:
        estimate = self._foresight.guess(actor, plan)
        return Entry(
            id=new_id("run"),
            request_id=request.request_id or None,
            name=" ".join(plain_text("The name", request.name, _REQUEST_LIMIT).split())[:_NAME_LIMIT],
            stage=request.stage,
            recipe=dump_recipe(plan.recipe),
            output=plan.output,
            seed=plan.recipe.seed,
            dataset_version_ids=tuple(dataset.id for dataset in plan.datasets),
            model_version_id=plan.model.id,
            packages=installed_packages(self._desk.home.parent, plan.recipe.engine),
            job_id=new_id("job"),
            attempts=1,
            created_at=now(),
            created_by=actor.name,
            role=actor.role.value,
            priority=request.priority,
            after_runs=tuple(dict.fromkeys(request.after)),
            continue_on_error=request.continue_on_error,
            devices=request.devices,
            predicted_memory_bytes=estimate.total if estimate else None,
        )
