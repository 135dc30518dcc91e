"""TensorBoard for those who like that view: started when somebody opens a run, gone when nobody looks.

Everyone gets a board of their own, because TensorBoard shows whoever reaches it all it has: a board holds
links to the runs that its person opened, and only while that person may see them. It is a job like any
other, so it is supervised, survives a restart of the web server only until it is idle, and has a log. Who
owns which board is kept in memory alone: it names people, and after a restart a new one is opened.

The address holds a secret and is no key by itself: the web server relays it to its owner only, who is
logged in (``studio.api.board``).
"""

from __future__ import annotations

import re
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core.actors import SYSTEM, Actor, Role, require
from studio.core.errors import NotFound, TooManyRequests
from studio.core.files import read_json
from studio.core.ids import new_id
from studio.jobs import JobSpec, Slot
from studio.training.task import TENSORBOARD

if TYPE_CHECKING:
    from studio.jobs import JobService
    from studio.training.records import Run
    from studio.training.service import TrainingService

KIND = "tensorboard"
WORKER = "studio.training.board_worker"
#: Where the web server relays boards.
PREFIX = "/studio/tensorboard"
#: People who can have one at the same time; each takes some 200 MB.
MOST_BOARDS = 4
#: Runs on one board; the one opened longest ago makes room.
MOST_RUNS = 20

_IDLE_SECONDS = 900.0
_CHECK_SECONDS = 5.0
_RESULT = "result.json"


@dataclass
class _Board:
    key: str
    job_id: str
    folder: Path
    runs: dict[str, Path] = field(default_factory=dict)
    checked: float = 0.0


@dataclass(frozen=True)
class Place:
    """Where a board answers on the loopback interface; ``port`` is None until it is up."""

    port: int | None


class BoardService:
    """Boards, one a person.

    Args:
        home: The studio's home; a board's links lie in ``home/boards/<job id>/``.
        jobs: Runs them.
        training: Says which runs somebody may see.
        idle_seconds: After so long without a request a board ends.
    """

    def __init__(
        self, home: Path, jobs: JobService, training: TrainingService, idle_seconds: float = _IDLE_SECONDS
    ) -> None:
        self._home = home
        self._jobs = jobs
        self._training = training
        self._idle = idle_seconds
        self._boards: dict[str, _Board] = {}
        self._lock = threading.Lock()

    def open(self, actor: Actor, run_id: str) -> str:
        """Put a run on the actor's board and start it where it is not up; returns the board's address.

        Raises:
            NotFound: There is no such run.
            TooManyRequests: Too many people have one open.
        """
        require(actor, Role.RESEARCHER)
        run = self._training.get(actor, run_id)
        with self._lock:
            self._forget_ended()
            board = self._boards.get(actor.name) or self._start(actor)
            self._link(board, run)
        return f"{PREFIX}/{board.key}/"

    def place(self, actor: Actor, key: str) -> Place:
        """Where to relay a request of ``actor`` to; every few seconds its runs are looked at again.

        Raises:
            NotFound: The actor has no such board, or it has ended, or it held a run that the actor may
                not see any more (then it is ended).
        """
        require(actor, Role.RESEARCHER)
        with self._lock:
            board = self._boards.get(actor.name)
            if board is None or not secrets.compare_digest(board.key.encode(), key.encode()):
                raise _closed()
            if self._ended(board) or not self._still_allowed(actor, board):
                self._end(actor.name, board)
                raise _closed()
        said = read_json(self._jobs.get(SYSTEM, board.job_id).directory / _RESULT)
        return Place(int(said["port"]) if isinstance(said, dict) else None)

    def _start(self, actor: Actor) -> _Board:
        if len(self._boards) >= MOST_BOARDS:
            raise TooManyRequests(
                f"{MOST_BOARDS} people have TensorBoard open.",
                "Try again later: it closes some minutes after it was last looked at.",
                retry_after=60.0,
            )
        job_id = new_id("job")
        board = _Board(secrets.token_hex(16), job_id, self._home / "boards" / job_id)
        (board.folder / "runs").mkdir(parents=True, exist_ok=True)
        payload: dict[str, object] = {
            "folder": str(board.folder / "runs"),
            "prefix": f"{PREFIX}/{board.key}",
            "idle_seconds": self._idle,
        }
        self._jobs.submit(actor, JobSpec(KIND, WORKER, KIND, payload, Slot.LIGHT), job_id=job_id)
        self._boards[actor.name] = board
        return board

    def _link(self, board: _Board, run: Run) -> None:
        if run.id in board.runs:
            return
        while len(board.runs) >= MOST_RUNS:
            oldest = next(iter(board.runs))
            board.runs.pop(oldest).unlink(missing_ok=True)
        source = self._home / "runs" / run.id / TENSORBOARD
        # A run that has not started yet has no events: the folder is there for it to write to.
        source.mkdir(parents=True, exist_ok=True)
        place = board.folder / "runs" / f"{_plain(run.name)} {run.id}"
        place.symlink_to(source)
        board.runs[run.id] = place

    def _still_allowed(self, actor: Actor, board: _Board) -> bool:
        if time.monotonic() - board.checked < _CHECK_SECONDS:
            return True
        board.checked = time.monotonic()
        return not any(self._training.hides(actor, run_id) for run_id in board.runs)

    def _forget_ended(self) -> None:
        for owner, board in tuple(self._boards.items()):
            if self._ended(board):
                self._end(owner, board)
        kept = {board.folder for board in self._boards.values()}
        for left in (self._home / "boards").glob("*"):
            # Of an earlier web server, whose board ends by itself.
            if left not in kept and self._job_is_over(left.name):
                shutil.rmtree(left, ignore_errors=True)

    def _end(self, owner: str, board: _Board) -> None:
        self._boards.pop(owner, None)
        self._jobs.request_stop(SYSTEM, board.job_id)
        shutil.rmtree(board.folder, ignore_errors=True)

    def _ended(self, board: _Board) -> bool:
        return self._job_is_over(board.job_id)

    def _job_is_over(self, job_id: str) -> bool:
        try:
            return self._jobs.get(SYSTEM, job_id).state.final
        except NotFound:
            return True


def _closed() -> NotFound:
    return NotFound("This TensorBoard is closed.", "Open it again from a run.")


def _plain(name: str) -> str:
    """The name as one part of a path that means nothing else."""
    return re.sub(r"[^\w.-]+", " ", name).strip(" .")[:60] or "run"
