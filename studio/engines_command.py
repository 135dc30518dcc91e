"""``python -m studio engines``: other engines installed, listed and removed from a terminal.

Whoever may run this already holds the home directory, so it acts as the local admin. An installation is a
job: ``install`` follows it, and Ctrl+C stops watching, not the job.
"""

from __future__ import annotations

import argparse

from studio.core import LOCAL_ADMIN
from studio.jobs import Job, JobState
from studio.studio import Studio
from studio.training.engines.external.environments import CATALOGUE

_LOOK_SECONDS = 0.5
_LOG_TAIL = 4000


def add_engines_parser(parser: argparse.ArgumentParser) -> None:
    """Describe the commands below ``engines``."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("list", help="what there is, and what is installed").set_defaults(run=_list)
    install = commands.add_parser("install", help="install one into a virtual environment of its own")
    install.add_argument("engine", choices=tuple(CATALOGUE))
    install.add_argument(
        "--torch-index", default="", metavar="URL", help="take torch from this package index (a CPU build)"
    )
    install.set_defaults(run=_install)
    remove = commands.add_parser("remove", help="remove one; what it made stays")
    remove.add_argument("engine", choices=tuple(CATALOGUE))
    remove.set_defaults(run=_remove)


def _list(studio: Studio, _: argparse.Namespace) -> int:
    for one in studio.engines.list(LOCAL_ADMIN):
        torch = one.packages.get("torch", "")
        built = f"  torch {torch}, transformers {one.packages.get('transformers', '?')}" if torch else ""
        print(f"{one.engine.name:<13} {one.engine.version:<8} {one.state.value}{built}")
    return 0


def _install(studio: Studio, chosen: argparse.Namespace) -> int:
    job = studio.engines.install(LOCAL_ADMIN, chosen.engine, chosen.torch_index)
    print(f"{chosen.engine} ({job.id}); Ctrl+C stops watching, not the installation", flush=True)
    done = _follow(studio, job)
    if done.state is JobState.SUCCEEDED:
        return _list(studio, chosen)
    print(studio.jobs.log(LOCAL_ADMIN, done.id, -_LOG_TAIL).text)
    print(f"{done.state}: {done.reason}")
    return 1


def _follow(studio: Studio, job: Job) -> Job:
    said = ""
    while not job.state.final:
        job = studio.jobs.wait(LOCAL_ADMIN, job.id, _LOOK_SECONDS)
        progress = studio.jobs.progress(LOCAL_ADMIN, job.id)
        line = f"{progress.phase}: {progress.done:g} of {progress.total:g}" if progress else str(job.state)
        if line != said:
            print(line, flush=True)
            said = line
    return job


def _remove(studio: Studio, chosen: argparse.Namespace) -> int:
    studio.engines.remove(LOCAL_ADMIN, chosen.engine)
    return _list(studio, chosen)
