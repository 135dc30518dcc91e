"""What becomes of a run when its job ends: its weights registered, its numbers kept, its failure explained.

The invariant: a run counts as succeeded only once its weights are registered. Settling looks at the files
of a run and never at its process, and doing it again changes nothing.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.core import SYSTEM, InvalidInput, Node, NotFound, StudioError, now, read_json
from studio.jobs import Job, JobState
from studio.registry import ModelKind, NewWeights
from studio.training.desk import RunDesk, actor_of
from studio.training.failures import explain
from studio.training.foresight import Foresight
from studio.training.metrics import last_values
from studio.training.records import FailureCard, Run
from studio.training.store import Ending, Entry
from studio.training.task import METRICS, RESULT, USAGE

#: As much of the end of a log as an explanation is looked for in, in bytes.
_LOG_TAIL = 64 * 1024

_log = logging.getLogger(__name__)


class Settler:
    """Closes runs whose jobs have ended, and submits those whose job is missing."""

    def __init__(self, desk: RunDesk, foresight: Foresight) -> None:
        self._desk = desk
        self._foresight = foresight

    def settle_all(self) -> None:
        """Look at every open run; one that is broken does not keep the others from it."""
        for entry in self._desk.store.open():
            self.settle_safely(entry)

    def settle_safely(self, entry: Entry) -> None:
        """Settle one run; what goes wrong is logged and tried again later."""
        try:
            self.settle(entry)
        except Exception:
            _log.exception("run %s could not be settled", entry.id)

    def settle(self, entry: Entry) -> None:
        """Close a run whose job has ended, or submit the job that it lacks."""
        job = self._desk.job(entry)
        if job is None:
            self._submit_or_end(entry)
            return
        if not job.state.final:
            return
        state, reason, output = job.state, job.reason, None
        if state is JobState.SUCCEEDED:
            try:
                output = self._register(entry)
            except StudioError as error:
                state, reason = JobState.FAILED, f"Its weights could not be registered. {error}"
        self._close(entry, job, state, reason, output)

    def card_of(self, entry: Entry) -> FailureCard | None:
        """Why a run that has ended did not succeed; None where it did, or was stopped."""
        job = self._desk.job(entry)
        if job is None or entry.state not in (JobState.FAILED, JobState.LOST):
            return entry.failure
        return entry.failure or self._explain(entry, self._desk.run(entry), job)

    def _close(self, entry: Entry, job: Job, state: JobState, reason: str, output: str | None) -> None:
        ending = self._ending(entry, job, state, reason, output)
        if not self._desk.store.end(entry.id, ending):
            return
        self._desk.forget(entry.id)
        self._desk.audit.record(actor_of(entry), state.value, Node("run", entry.id), reason)
        if output is not None:
            self._learn(entry)

    def _submit_or_end(self, entry: Entry) -> None:
        try:
            self._desk.submit(entry)
        except StudioError as error:
            # What it was to learn from is gone by now.
            ending = Ending(entry.job_id, JobState.FAILED, str(error), {}, None, None, now())
            self._desk.store.end(entry.id, ending)

    def _register(self, entry: Entry) -> str:
        directory = self._desk.directory(entry.id)
        result = self._file(entry, RESULT)
        try:
            kind, parameters = ModelKind(result["kind"]), int(result["parameters"])
            path = directory / Path(result["path"]).name
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput("The trainer left no result.", "Look at the run's log.") from error
        model = self._desk.registry.version(SYSTEM, entry.model_version_id)
        new = NewWeights(
            name=entry.output,
            kind=kind,
            path=path,
            base_id=model.base_id,
            parent_id=model.id,
            run_id=entry.id,
            parameters=parameters,
            made_of=self._desk.made_of(entry),
        )
        return self._desk.registry.register_weights(actor_of(entry), new).id

    def _ending(self, entry: Entry, job: Job, state: JobState, reason: str, output: str | None) -> Ending:
        usage = self._usage(entry)
        ending = Ending(
            job_id=job.id,
            state=state,
            reason=reason,
            summary=last_values(self._desk.directory(entry.id) / METRICS),
            output_version_id=output,
            peak_memory_bytes=_peak(usage),
            ended_at=job.ended_at or now(),
        )
        if state not in (JobState.FAILED, JobState.LOST):
            return ending
        return replace(ending, failure=self._explain(entry, self._as_ended(entry, ending), job))

    def _as_ended(self, entry: Entry, ending: Ending) -> Run:
        """The run as it will stand, for whoever explains its end."""
        known = {name: value for name, value in vars(ending).items() if name not in ("job_id", "failure")}
        return self._desk.run(replace(entry, **known))

    def _explain(self, entry: Entry, run: Run, job: Job) -> FailureCard | None:
        try:
            tail = self._desk.jobs.log(SYSTEM, job.id, -_LOG_TAIL).text
        except NotFound:
            tail = ""
        memory = None
        with suppress(StudioError):  # what it was to learn from may be gone
            memory = self._foresight.guess(SYSTEM, self._desk.plan(SYSTEM, entry))
        try:
            return explain(run, job, tail, self._usage(entry), memory)
        except Exception:
            # A card is a help; without one the run has ended all the same.
            _log.exception("the end of run %s could not be explained", entry.id)
            return None

    def _learn(self, entry: Entry) -> None:
        """Let the forecasts of later runs learn from what this one needed."""
        result = self._file(entry, RESULT)
        try:
            plan = self._desk.plan(SYSTEM, entry)
            steps = int(result.get("steps", 0))
            self._foresight.learn(SYSTEM, plan, entry.id, self._usage(entry), steps)
        except Exception:
            # Later forecasts are a little worse; this run is as good as it was.
            _log.exception("what run %s needed could not be remembered", entry.id)

    def _usage(self, entry: Entry) -> dict[str, Any]:
        return self._file(entry, USAGE)

    def _file(self, entry: Entry, name: str) -> dict[str, Any]:
        found = read_json(self._desk.directory(entry.id) / name)
        return found if isinstance(found, dict) else {}


def _peak(usage: dict[str, Any]) -> int | None:
    """The peak of what a run is short of first: the GPUs' memory where it used any, else its own."""
    return usage.get("peak_cuda_bytes") or usage.get("peak_memory_bytes")
