"""``python -m studio runs``: the queue and the runs from a terminal, also while the studio runs.

Whoever may run this already holds the home directory, so it acts as the local admin. A command says what it
did in a line and ends; only a running studio (or ``python -m studio train``) moves the queue on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from studio.core import LOCAL_ADMIN, InvalidInput
from studio.studio import Studio
from studio.training import Comparison, Run, TrainingService

Command = Callable[[TrainingService, argparse.Namespace], None]
Commands = argparse._SubParsersAction

_LISTED = 20


def add_runs_parser(parser: argparse.ArgumentParser) -> None:
    """Describe the commands below ``runs``."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listed = _command(commands, "list", "the newest runs", _list)
    listed.add_argument("--limit", type=int, default=_LISTED, help="how many")
    _command(commands, "queue", "the runs that wait, and what for", _queue)
    _add_changes(commands)
    _add_looks(commands)
    _add_checkpoints(commands)


def _add_changes(commands: Commands[argparse.ArgumentParser]) -> None:
    _of_run(commands, "stop", "ask a run to save and end", _stop)
    _of_run(commands, "pause", "ask a run to save and end, to be taken up again", _pause)
    resume = _of_run(commands, "resume", "go on with a run that was paused, stopped, failed or lost", _resume)
    resume.add_argument("--step", type=int, help="go on from this checkpoint and give up later ones")
    retry = _of_run(commands, "retry", "start a run again as a new one", _retry)
    retry.add_argument("--with-fix", action="store_true", help="change what its failure card suggests")
    move = _of_run(commands, "move", "put a waiting run before another one, or behind all", _move)
    move.add_argument("--before", help="the id of the other one")
    priority = _of_run(commands, "priority", "give a waiting run another priority", _priority)
    priority.add_argument("priority", type=int, help="from -1000 to 1000; higher ones go first")


def _add_looks(commands: Commands[argparse.ArgumentParser]) -> None:
    _of_run(commands, "show", "how a run stands, with its recipe", _show)
    log = _of_run(commands, "log", "the end of a run's log", _log)
    log.add_argument("--bytes", type=int, default=8000, help="how much of it")
    _of_run(commands, "failure", "why a run failed, and what would help", _failure)
    _of_run(commands, "command", "what to type to run the same again", _reproduction)
    compare = _command(commands, "compare", "where recipes differ, and their numbers", _compare)
    compare.add_argument("runs", nargs="+", metavar="RUN", help="the id of a run")


def _add_checkpoints(commands: Commands[argparse.ArgumentParser]) -> None:
    _of_run(commands, "checkpoints", "the complete checkpoints of a run", _checkpoints)
    keep = _of_run(commands, "keep", "register a checkpoint as a model version", _keep)
    keep.add_argument("step", type=int)
    keep.add_argument("--name", default="", help="what to call it; as the run's own model without it")
    delete = _of_run(commands, "delete", "delete a checkpoint for ever", _delete)
    delete.add_argument("step", type=int)


def _command(
    commands: Commands[argparse.ArgumentParser], name: str, meaning: str, command: Command
) -> argparse.ArgumentParser:
    def run(studio: Studio, chosen: argparse.Namespace) -> int:
        command(studio.training, chosen)
        return 0

    parser = commands.add_parser(name, help=meaning)
    parser.set_defaults(run=run)
    return parser


def _of_run(
    commands: Commands[argparse.ArgumentParser], name: str, meaning: str, command: Command
) -> argparse.ArgumentParser:
    parser = _command(commands, name, meaning, command)
    parser.add_argument("run_id", metavar="RUN", help="the id of a run")
    return parser


def _list(training: TrainingService, chosen: argparse.Namespace) -> None:
    if not 1 <= chosen.limit <= 10_000:
        raise InvalidInput(f"{chosen.limit} runs cannot be listed.", "Ask for 1 to 10000.")
    runs = training.list(LOCAL_ADMIN, chosen.limit)
    if not runs:
        print("There are no runs. Start one: python -m studio train configs/sft.yaml")
    for run in runs:
        print(_line(run))


def _queue(training: TrainingService, _: argparse.Namespace) -> None:
    waiting = training.queue(LOCAL_ADMIN)
    if not waiting:
        print("No run waits.")
    for one in waiting:
        reason = f"  {one.waits_for}" if one.waits_for else ""
        print(f"{one.place:>3}  {one.run.id}  {one.run.name}  priority {one.run.priority}{reason}")


def _stop(training: TrainingService, chosen: argparse.Namespace) -> None:
    print(_line(training.stop(LOCAL_ADMIN, chosen.run_id)))


def _pause(training: TrainingService, chosen: argparse.Namespace) -> None:
    print(_line(training.pause(LOCAL_ADMIN, chosen.run_id)))


def _resume(training: TrainingService, chosen: argparse.Namespace) -> None:
    print(_line(training.resume(LOCAL_ADMIN, chosen.run_id, chosen.step)))


def _retry(training: TrainingService, chosen: argparse.Namespace) -> None:
    print(_line(training.retry(LOCAL_ADMIN, chosen.run_id, chosen.with_fix)))


def _move(training: TrainingService, chosen: argparse.Namespace) -> None:
    training.move(LOCAL_ADMIN, chosen.run_id, chosen.before)
    _queue(training, chosen)


def _priority(training: TrainingService, chosen: argparse.Namespace) -> None:
    training.prioritise(LOCAL_ADMIN, chosen.run_id, chosen.priority)
    _queue(training, chosen)


def _show(training: TrainingService, chosen: argparse.Namespace) -> None:
    run = training.get(LOCAL_ADMIN, chosen.run_id)
    print(_line(run))
    for name, value in sorted(run.summary.items()):
        print(f"  {name}: {value:.6g}")
    print(run.recipe, end="")


def _log(training: TrainingService, chosen: argparse.Namespace) -> None:
    print(training.log(LOCAL_ADMIN, chosen.run_id, -max(chosen.bytes, 1)).text, end="")


def _failure(training: TrainingService, chosen: argparse.Namespace) -> None:
    card = training.failure(LOCAL_ADMIN, chosen.run_id)
    if card is None:
        print("Nothing is known to have gone wrong.")
        return
    print(f"{card.title} ({card.kind})\n{card.suggestion}")
    for line in card.evidence:
        print(f"  | {line}")
    for path, value in card.fix.items():
        print(f"  {path}: {value}")
    if card.fix:
        print(f"Start it again so: python -m studio runs retry {chosen.run_id} --with-fix")


def _reproduction(training: TrainingService, chosen: argparse.Namespace) -> None:
    print(training.command(LOCAL_ADMIN, chosen.run_id), end="")


def _compare(training: TrainingService, chosen: argparse.Namespace) -> None:
    found = training.compare(LOCAL_ADMIN, chosen.runs)
    print("\n".join(_columns(_rows(found))))


def _checkpoints(training: TrainingService, chosen: argparse.Namespace) -> None:
    found = training.checkpoints(LOCAL_ADMIN, chosen.run_id)
    if not found:
        print("There is no complete checkpoint.")
    for one in found:
        loss = "not evaluated" if one.eval_loss is None else f"eval loss {one.eval_loss:.4f}"
        words = [word for word, holds in (("best", one.best), ("newest", one.newest)) if holds]
        print(f"step {one.step:>8}  {one.bytes / 1e6:>10.1f} MB  {loss}  {' '.join(words)}".rstrip())


def _keep(training: TrainingService, chosen: argparse.Namespace) -> None:
    version = training.keep_checkpoint(LOCAL_ADMIN, chosen.run_id, chosen.step, chosen.name)
    print(f"{version.reference} ({version.id})")


def _delete(training: TrainingService, chosen: argparse.Namespace) -> None:
    training.delete_checkpoint(LOCAL_ADMIN, chosen.run_id, chosen.step)
    print(f"The checkpoint of step {chosen.step} is deleted.")


def _line(run: Run) -> str:
    state = "paused" if run.paused and run.state.final else run.state.value
    loss = run.summary.get("eval/loss", run.summary.get("train/loss"))
    shown = "" if loss is None else f"  loss {loss:.4f}"
    return f"{run.id}  {state:<9}  {run.stage.value:<6}  {run.name}{shown}  {run.reason}".rstrip()


def _rows(found: Comparison) -> list[list[str]]:
    rows = [["", *(run.name for run in found.runs)]]
    rows += [[name, *map(str, values)] for name, values in found.differences.items()]
    for name, numbers in found.table.items():
        rows.append([name, *("" if number is None else f"{number:.6g}" for number in numbers)])
    return rows


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
