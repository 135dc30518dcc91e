"""What can be done on the Runs page: every button of a run, of its checkpoints and of the queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from markupsafe import Markup

from pages.components.markup import address, link
from pages.components.wiring import toast
from studio.core import InvalidInput
from studio.studio import Studio

Said = Mapping[str, str]

#: When a button was last pressed in this process, in nanoseconds.
_pressed = {"newest": 0}


def last_pressed() -> int:
    """Changes with each button: what was read before it is older than the button's own answer."""
    return _pressed["newest"]


def carry_out(studio: Studio, said: Said) -> None:
    """Do what a button says.

    Raises:
        StudioError: It cannot be done, or the button says nothing that is known.
    """
    act = _ACTS.get(said.get("do", ""))
    if act is None:
        raise InvalidInput("This button is of another version of the page.", "Load the page again.")
    try:
        act(studio, said.get("run", ""), said)
    finally:
        _pressed["newest"] = time.monotonic_ns()


def _stop(studio: Studio, run_id: str, said: Said) -> None:  # noqa: ARG001
    run = studio.training.stop(studio.actor, run_id)
    ended = run.state.final
    toast(f"“{run.name}” is stopped." if ended else f"“{run.name}” saves a checkpoint and stops.")


def _pause(studio: Studio, run_id: str, said: Said) -> None:  # noqa: ARG001
    run = studio.training.pause(studio.actor, run_id)
    toast(f"“{run.name}” saves a checkpoint and waits until you resume it.")


def _resume(studio: Studio, run_id: str, said: Said) -> None:
    step = _number(said["step"]) if "step" in said else None
    run = studio.training.resume(studio.actor, run_id, step)
    where = "its newest checkpoint" if step is None else f"step {step:,}"
    toast(f"“{run.name}” goes on from {where}.")


def _retry(studio: Studio, run_id: str, said: Said) -> None:
    fixed = said["do"] == "retry_fixed"
    run = studio.training.retry(studio.actor, run_id, with_fix=fixed)
    how = "with the suggested change" if fixed else "as it was"
    there = link(run.name, address("runs", run=run.id))
    toast(Markup("It is tried again {}: {}").format(how, there))


def _move(studio: Studio, run_id: str, said: Said) -> None:
    studio.training.move(studio.actor, run_id, said.get("before") or None)


def _prioritise(studio: Studio, run_id: str, said: Said) -> None:
    studio.training.prioritise(studio.actor, run_id, _number(said.get("priority", "")))


def _keep(studio: Studio, run_id: str, said: Said) -> None:
    name = said.get("name", "").strip()
    version = studio.training.keep_checkpoint(studio.actor, run_id, _number(said.get("step", "")), name)
    there = link(version.reference, address("models", model=version.id))
    toast(Markup("The checkpoint is {} now.").format(there))


def _drop(studio: Studio, run_id: str, said: Said) -> None:
    step = _number(said.get("step", ""))
    studio.training.delete_checkpoint(studio.actor, run_id, step)
    toast(f"The checkpoint at step {step:,} is deleted.")


_ACTS: dict[str, Callable[[Studio, str, Said], None]] = {
    "stop": _stop,
    "pause": _pause,
    "resume": _resume,
    "retry": _retry,
    "retry_fixed": _retry,
    "move": _move,
    "prioritise": _prioritise,
    "keep": _keep,
    "drop": _drop,
}


def _number(text: str) -> int:
    try:
        return int(text[:20])
    except ValueError as error:
        raise InvalidInput(f"{text[:40]!r} is no whole number.", "Load the page again.") from error
