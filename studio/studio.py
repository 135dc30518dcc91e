"""The studio as one object: this is the only place that builds services and wires them together.

``open_studio`` starts nothing. ``start`` brings up the heartbeat: one thread that observes the jobs,
hands what ended to the rooms that asked for it, and keeps the model servers in order. Whatever
the heartbeat misses (the web server was down) is settled at the next start, so no outcome is lost.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from studio.accounts import AccountService
from studio.annotation import AnnotationService
from studio.annotation.exchange_service import ExchangeService
from studio.annotation.model_work import ModelWork
from studio.annotation.review_service import ReviewService
from studio.arena import ArenaService
from studio.core import LOCAL_ADMIN, Access, Actor, Audit, Database, Lineage, Role, Settings
from studio.datasets import DatasetService, PreferenceResult, PreferenceSettings
from studio.erasure import erase_person
from studio.evaluation import EvaluationService
from studio.giving_way import GivingWay
from studio.hidden_jobs import HiddenJobs
from studio.jobs import Job, JobService
from studio.jobs.devices import Devices
from studio.registry import RegistryService
from studio.samples import import_samples
from studio.serving import ServingService
from studio.training import TrainingService
from studio.training.board import BoardService
from studio.training.curve_service import CurveService
from studio.training.engines.external.service import EngineService
from studio.training.memory import MemoryForecast
from studio.training.preflight import PreflightService
from studio.training.preflight.machine_checks import Machine
from studio.training.sweeps import SweepService

#: The source of battles that nobody but a script has judged.
SCRIPTED = "loop"

_BEAT_SECONDS = 0.25
_BEATS_TO_SETTLE_AGAIN = 20
_SETTLED_AT_START = 10_000

_log = logging.getLogger(__name__)


class _Heart:
    """The thread that calls ``tick``; an error in one beat is logged and does not stop it."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, studio: Studio) -> None:
        self._thread = threading.Thread(target=self._beat, args=(studio,), name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _beat(self, studio: Studio) -> None:
        _guarded(studio.prepare)
        for beat in itertools.count(1):
            if self._done.wait(_BEAT_SECONDS):
                return
            _guarded(studio.tick)
            if beat % _BEATS_TO_SETTLE_AGAIN == 0:
                studio.settle_again()


@dataclass(frozen=True)
class Studio:
    """Every service, ready to be called; close it when done."""

    settings: Settings
    database: Database
    lineage: Lineage
    audit: Audit
    access: Access
    accounts: AccountService
    devices: Devices
    jobs: JobService
    datasets: DatasetService
    registry: RegistryService
    preflight: PreflightService
    training: TrainingService
    engines: EngineService
    sweeps: SweepService
    curves: CurveService
    board: BoardService
    serving: ServingService
    evaluation: EvaluationService
    arena: ArenaService
    annotation: AnnotationService
    model_work: ModelWork
    review: ReviewService
    exchange: ExchangeService
    giving_way: GivingWay
    actor: Actor = LOCAL_ADMIN
    _heart: _Heart = field(default_factory=_Heart, repr=False)

    def acting(self, actor: Actor) -> Studio:
        """The same studio with ``actor`` at the desk: what a page does, it does as that person."""
        return replace(self, actor=actor)

    def start(self) -> None:
        """Settle what ended while nobody looked, prepare a first start, and begin the heartbeat."""
        ended = (job for job in self.jobs.list(LOCAL_ADMIN, limit=_SETTLED_AT_START) if job.state.final)
        self.settle(tuple(ended))
        self._heart.start(self)

    def prepare(self) -> None:
        """What a first start owes its user: sample data, and the embedded model on its way."""
        if self.settings.sample_data:
            import_samples(self.datasets)
        if self.settings.embedded_model:
            self.registry.start_embedded(LOCAL_ADMIN)

    def tick(self) -> None:
        """One beat: observe jobs, settle those that ended, move sweeps on, look after the model servers."""
        ended = self.jobs.tick()
        if ended:
            self.settle(ended)
        _guarded(self.sweeps.tick)
        self.giving_way.tick()
        self.serving.tick()

    def settle_again(self) -> None:
        """Make good what an earlier attempt could not settle: a full disk or a locked database passes."""
        _guarded(self.datasets.settle_again)
        _guarded(partial(self.training.settle, ()))
        _guarded(self.model_work.settle_again)

    def settle(self, ended: tuple[Job, ...]) -> None:
        """Hand ended jobs to the rooms whose work they were; doing it twice changes nothing."""
        rooms = (self.datasets, self.registry, self.preflight, self.training, self.model_work)
        for settle in (room.settle for room in rooms):
            # One room's failure must not keep the outcome from the others.
            _guarded(partial(settle, ended))

    def build_preferences(
        self,
        actor: Actor,
        dataset: str,
        settings: PreferenceSettings,
        join: tuple[str, ...] = (),
        *,
        include_scripted: bool = False,
        leave_out_protected: bool = False,
    ) -> PreferenceResult:
        """A preference dataset version from every vote, label and thumb, joined by ``join``.

        It stands here because votes and labels live in two rooms that do not know each other. The votes
        of the loop's scripted voter are left out unless they are asked for.

        Raises:
            InvalidInput: No pair remains, or a protected prompt would be trained on and is not to be left
                out; the details say which, or what was left out and why.
        """
        votes = self.arena.judgements(actor)
        if not include_scripted:
            scripted = {vote.id for vote in self.arena.judgements(actor, source=SCRIPTED)}
            votes = tuple(vote for vote in votes if vote.id not in scripted)
        judgements = (*votes, *self.annotation.judgements(actor))
        opinions = self.arena.opinions(actor)
        return self.datasets.build_preferences(
            actor, dataset, judgements, opinions, settings, join, leave_out_protected=leave_out_protected
        )

    def erase(self, actor: Actor, name: str) -> str:
        """Erase a person from every room; the pseudonym that stands in place of the name. For admins.

        Raises:
            NotFound: There is no such account.
            Conflict: It is the last admin's.
        """
        return erase_person(self, actor, name).pseudonym

    def close(self) -> None:
        """Stop the heartbeat and the model servers; running jobs go on under their supervisors."""
        self._heart.stop()
        self.serving.close()
        self.jobs.close()
        self.database.close()


def open_studio(settings: Settings) -> Studio:
    """Build every service on ``settings.home``; nothing runs until ``start``."""
    settings.home.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_path)
    lineage, audit = Lineage(database), Audit(database)
    access = Access(database, audit)
    devices = Devices(settings.gpus)
    jobs = JobService(
        database,
        settings.home,
        audit,
        training_slots=settings.training_slots,
        stop_grace_seconds=settings.stop_grace_seconds,
        stall_seconds=settings.stall_seconds,
        devices=devices,
    )
    datasets = DatasetService(database, settings.home, jobs, lineage, audit, settings, access)
    registry = RegistryService(database, settings.home, jobs, lineage, audit, access)
    machine = Machine(settings.home, MemoryForecast(database).estimate, gpus=devices.all)
    preflight = PreflightService(database, settings.home, jobs, datasets, registry, machine=machine)
    training = TrainingService(database, settings.home, jobs, datasets, registry, lineage, audit, preflight)
    serving = ServingService(database, settings.home, registry, lineage, audit, settings)
    giving_way = GivingWay(jobs, serving, training, devices)
    jobs.hold_when(giving_way.hold)
    serving.refuse_when(giving_way.refuses)
    evaluation = EvaluationService(settings.home, jobs, datasets, registry, audit)
    jobs.hide_when(HiddenJobs(datasets, registry, training, evaluation))
    arena = ArenaService(database, serving, registry, lineage, audit)
    serving.hide_when(arena.hides, arena.hidden, arena.beside_private)
    accounts = AccountService(database, audit, settings)
    known = partial(_can_log_in, accounts)
    annotation = AnnotationService(database, datasets, lineage, audit, arena.pairs, known=known)
    model_work = ModelWork(annotation.store, settings.home, jobs, datasets, registry, lineage)
    annotation.subscribe(model_work)
    return Studio(
        settings=settings,
        database=database,
        lineage=lineage,
        audit=audit,
        access=access,
        accounts=accounts,
        devices=devices,
        jobs=jobs,
        datasets=datasets,
        registry=registry,
        preflight=preflight,
        training=training,
        engines=EngineService(settings.home, jobs, audit),
        sweeps=SweepService(database, settings.home, training, datasets, registry, audit),
        curves=CurveService(settings.home, training),
        board=BoardService(settings.home, jobs, training),
        serving=serving,
        evaluation=evaluation,
        arena=arena,
        annotation=annotation,
        model_work=model_work,
        review=ReviewService(database, annotation.store, datasets, audit, partial(_deciders, accounts)),
        exchange=ExchangeService(database, annotation.store, datasets, audit, settings),
        giving_way=giving_way,
    )


def _can_log_in(accounts: AccountService, name: str) -> bool:
    """Whether ``name`` is an account that is not disabled; every name is while there are no accounts."""
    return accounts.actor(name) is not None or not accounts.exist()


def _deciders(accounts: AccountService) -> frozenset[str]:
    """The names of those who can log in and lead every annotation project."""
    leading = (Role.ADMIN, Role.RESEARCHER)
    found = accounts.list(LOCAL_ADMIN)
    return frozenset(one.name for one in found if one.role in leading and not one.disabled)


def _guarded(step: Callable[[], None]) -> None:
    try:
        step()
    except Exception:
        _log.exception("A step of the studio's heartbeat failed; it is tried again at the next one.")
