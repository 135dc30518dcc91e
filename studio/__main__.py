"""The studio from a terminal.

``python -m studio loop`` walks the whole loop on the embedded model; ``python -m studio train FILE``
runs one recipe and follows it; ``python -m studio runs`` looks after the queue and the runs;
``python -m studio sweep`` tries many values of a recipe; ``python -m studio engines`` installs other
tools that train; ``python -m studio users`` adds and changes accounts. All of them work beside a
running web server on the same home.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from studio.core import LOCAL_ADMIN, InvalidInput, NotFound, Settings, StudioError
from studio.engines_command import add_engines_parser
from studio.loop import LoopPlan, run_loop
from studio.registry import EMBEDDED_NAME
from studio.runs_command import add_runs_parser
from studio.studio import Studio, open_studio
from studio.sweeps_command import add_sweep_parser
from studio.training import Run, StartRun, stage_of
from studio.users_command import add_users_parser

_LOOK_SECONDS = 0.5


def main(arguments: list[str]) -> int:
    """Run one command; errors that a person can mend are one paragraph on stderr and exit code 1."""
    chosen = _parser().parse_args(arguments)
    try:
        return _run(chosen)
    except StudioError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _run(chosen: argparse.Namespace) -> int:
    studio = open_studio(Settings.load())
    command: Callable[[Studio, argparse.Namespace], int] = chosen.run
    try:
        return command(studio, chosen)
    finally:
        studio.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m studio", description=__doc__)
    commands = parser.add_subparsers(required=True)
    loop = commands.add_parser("loop", help="data, CPT, SFT, votes, DPO, evaluation, deployment")
    loop.add_argument("--base", default=EMBEDDED_NAME, help="the base model's name in the registry")
    loop.add_argument("--prompts", type=int, default=LoopPlan.feedback_prompts, help="feedback prompts")
    loop.set_defaults(run=_loop)
    train = commands.add_parser("train", help="run one recipe and follow it to its end")
    train.add_argument("recipe", type=Path, help="a YAML file such as configs/sft.yaml")
    train.add_argument("--name", default="", help="what to call the run")
    train.add_argument("--priority", type=int, default=0, help="from -1000 to 1000; higher ones go first")
    train.add_argument(
        "--after",
        action="append",
        default=[],
        metavar="RUN",
        help="wait until this run has succeeded; may be repeated",
    )
    train.add_argument(
        "--continue-on-error", action="store_true", help="wait only until those runs have ended"
    )
    train.add_argument(
        "--device",
        action="append",
        type=int,
        default=[],
        metavar="N",
        help="train on this GPU; may be repeated",
    )
    train.add_argument("--queue-only", action="store_true", help="queue the run for a running studio and end")
    train.set_defaults(run=_train)
    add_runs_parser(commands.add_parser("runs", help="the queue, and what became of runs"))
    sweep = commands.add_parser("sweep", help="many runs of one recipe with other values; the best of them")
    add_sweep_parser(sweep, _prepare)
    add_engines_parser(commands.add_parser("engines", help="other tools that train: install, list, remove"))
    add_users_parser(commands.add_parser("users", help="accounts: who may log in, and as what"))
    return parser


def _loop(studio: Studio, chosen: argparse.Namespace) -> int:
    plan = LoopPlan(base=chosen.base, feedback_prompts=chosen.prompts)
    result = run_loop(studio, plan, lambda line: print(line, flush=True))
    if not result.learnt:
        print("The model did not learn: the loss did not fall or the accuracy did not rise.")
    print(result.line())
    return 0


def _train(studio: Studio, chosen: argparse.Namespace) -> int:
    try:
        text = chosen.recipe.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"{chosen.recipe} cannot be read: {error.strerror}.", "Name a recipe file."
        ) from None
    _prepare(studio)
    asked = StartRun(
        stage=stage_of(text),
        recipe=text,
        name=chosen.name,
        priority=chosen.priority,
        after=tuple(chosen.after),
        continue_on_error=chosen.continue_on_error,
        devices=tuple(chosen.device),
    )
    run = studio.training.start(LOCAL_ADMIN, asked)
    if chosen.queue_only:
        print(f"{run.name} ({run.id}) is queued")
        return 0
    print(f"{run.name} ({run.id}); Ctrl+C stops watching, not the run", flush=True)
    done = _follow(studio, run)
    print(f"{done.state}: {done.reason or done.output_version_id}")
    return 0 if done.output_version_id else 1


def _prepare(studio: Studio) -> None:
    """Samples and embedded model, so that the recipes in ``configs/`` run on a fresh home."""
    studio.prepare()
    try:
        studio.registry.version(LOCAL_ADMIN, EMBEDDED_NAME)
    except NotFound:
        for job in studio.jobs.list(LOCAL_ADMIN):
            if not job.state.final:
                studio.settle((studio.jobs.wait(LOCAL_ADMIN, job.id, 3600.0),))


def _follow(studio: Studio, run: Run) -> Run:
    said = ""
    while not run.state.final:
        time.sleep(_LOOK_SECONDS)
        studio.tick()
        run = studio.training.get(LOCAL_ADMIN, run.id)
        line = _progress(run)
        if line != said:
            print(line, flush=True)
            said = line
    return run


def _progress(run: Run) -> str:
    progress = run.progress
    if progress is None:
        return str(run.state)
    loss = run.summary.get("train/loss")
    shown = f", loss {loss:.3f}" if loss is not None else ""
    return f"{progress.phase}: {progress.done:g} of {progress.total:g}{shown}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
