"""``python -m studio sweep``: sweeps from a terminal, also while the studio runs.

Whoever may run this already holds the home directory, so it acts as the local admin. ``sweep FILE`` begins
a sweep and follows it; the other commands say what they did and end. Only a running studio (or
``sweep FILE``, while it follows) moves sweeps on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from studio.core import LOCAL_ADMIN, InvalidInput
from studio.studio import Studio
from studio.training.sweeps import Sweep, SweepService, SweepState, Trial, best_of

_LOOK_SECONDS = 0.5
_LISTED = 20


def add_sweep_parser(parser: argparse.ArgumentParser, prepare: Callable[[Studio], None]) -> None:
    """Describe ``sweep``; ``prepare`` sees to samples and the embedded model before a sweep begins."""

    def run(studio: Studio, chosen: argparse.Namespace) -> int:
        if chosen.what in _COMMANDS:
            _COMMANDS[chosen.what](studio.sweeps, chosen.sweep_id or "")
            return 0
        return _begin(studio, chosen, prepare)

    parser.add_argument("what", metavar="FILE|list|show|stop|resume", help="a YAML file, or what to do")
    parser.add_argument("sweep_id", nargs="?", metavar="SWEEP", help="with show, stop and resume: its id")
    parser.add_argument("--queue-only", action="store_true", help="leave it to a running studio and end")
    parser.set_defaults(run=run)


def _begin(studio: Studio, chosen: argparse.Namespace, prepare: Callable[[Studio], None]) -> int:
    try:
        text = Path(chosen.what).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{chosen.what} cannot be read.", "Name a file such as configs/sweep.yaml."
        ) from error
    prepare(studio)
    outlook = studio.sweeps.outlook(LOCAL_ADMIN, text)
    sweep = studio.sweeps.start(LOCAL_ADMIN, text)
    about = "" if outlook.seconds is None else f", about {outlook.seconds / 60:.0f} minutes of training"
    print(f"{sweep.name} ({sweep.id}): {outlook.trials} trials{about}", flush=True)
    if chosen.queue_only:
        return 0
    print("Ctrl+C stops watching; a running studio goes on with it.", flush=True)
    return _follow(studio, sweep)


def _follow(studio: Studio, sweep: Sweep) -> int:
    said: dict[int, str] = {}
    while True:
        studio.tick()
        now = studio.sweeps.get(LOCAL_ADMIN, sweep.id)
        for trial in studio.sweeps.trials(LOCAL_ADMIN, sweep.id):
            if trial.state.final and trial.number not in said:
                said[trial.number] = trial.state.value
                print(_trial(trial), flush=True)
        if now.state is not SweepState.RUNNING:
            print(_line(studio.sweeps, now))
            return 0 if now.state is SweepState.FINISHED else 1
        time.sleep(_LOOK_SECONDS)


def _list(sweeps: SweepService, _: str) -> None:
    found = sweeps.list(LOCAL_ADMIN, _LISTED)
    if not found:
        print("There are no sweeps. Start one: python -m studio sweep configs/sweep.yaml")
    for sweep in found:
        print(_line(sweeps, sweep))


def _show(sweeps: SweepService, sweep_id: str) -> None:
    print(_line(sweeps, sweeps.get(LOCAL_ADMIN, sweep_id)))
    for trial in sweeps.trials(LOCAL_ADMIN, sweep_id):
        print(_trial(trial))
    for path, share in sweeps.insight(LOCAL_ADMIN, sweep_id).importance.items():
        print(f"  {path} mattered {share:.0%}")


def _stop(sweeps: SweepService, sweep_id: str) -> None:
    print(_line(sweeps, sweeps.stop(LOCAL_ADMIN, sweep_id)))


def _resume(sweeps: SweepService, sweep_id: str) -> None:
    print(_line(sweeps, sweeps.resume(LOCAL_ADMIN, sweep_id)))


_COMMANDS: dict[str, Callable[[SweepService, str], None]] = {
    "list": _list,
    "show": _show,
    "stop": _stop,
    "resume": _resume,
}


def _line(sweeps: SweepService, sweep: Sweep) -> str:
    trials = sweeps.trials(LOCAL_ADMIN, sweep.id)
    best = best_of(sweep, trials)
    found = (
        "" if best is None else f"  best {sweep.plan.objective} {best.value:.4g} by trial {best.number + 1}"
    )
    made = f"{len(trials)} of {sweep.plan.trials} trials"
    return f"{sweep.id}  {sweep.state:<8}  {sweep.name}  {made}{found}  {sweep.reason}".rstrip()


def _trial(trial: Trial) -> str:
    value = "" if trial.value is None else f"{trial.value:.4g}"
    params = "  ".join(f"{path}={_short(one)}" for path, one in trial.params.items())
    head = f"{trial.number + 1:>4}  {trial.state:<8}  {value:>8}"
    return f"{head}  {params}  {trial.run_id}  {trial.reason}".rstrip()


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
