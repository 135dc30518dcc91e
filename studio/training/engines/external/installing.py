"""The process that installs an engine: ``python -m studio.training.engines.external.installing <job>``.

pip is called as a person would call it, so its configuration and its environment variables count: an
index with CPU builds of torch, a mirror, a proxy. What it says goes to the job's log. The environment is made
where it will stand, because the programs in it name their interpreter by its path; the mark comes last.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from studio.core import StudioError, write_json
from studio.jobs import STOPPED_EXIT, JobContext
from studio.training.engines.external import environments
from studio.training.engines.external.environments import Engine

_LOOK_SECONDS = 0.25
#: pip gets this long to tidy up after it was told to end.
_END_SECONDS = 10.0
#: The packages that decide a run's outcome.
_NAMED = ("torch", "transformers", "peft", "trl", "accelerate", "datasets", "tokenizers", "bitsandbytes")
_ASK = (
    "import json, platform, sys; from importlib import metadata\n"
    "found = {'python': platform.python_version()}\n"
    "for name in sys.argv[1:]:\n"
    "    try: found[name] = metadata.version(name)\n"
    "    except metadata.PackageNotFoundError: pass\n"
    "print(json.dumps(found))"
)


class Stopped(Exception):
    """Someone asked the installation to stop."""


def main(arguments: list[str]) -> int:
    """Install what the job in ``arguments`` asks for; returns the exit code."""
    context = JobContext(Path(arguments[0]))
    try:
        install(context)
    except Stopped:
        return STOPPED_EXIT
    except Exception as error:
        traceback.print_exc()
        context.fail(error)
        return 1
    return 0


def install(context: JobContext) -> None:
    """Make the environment that the payload of ``context`` names, from nothing.

    Raises:
        StudioError: pip could not install something, or what it installed does not start.
        Stopped: Someone asked to stop; what was there by then does not count.
    """
    engine = environments.known(str(context.payload["engine"]))
    folder = Path(context.payload["home"]) / environments.ENGINES / f"{engine.name}-{engine.version}"
    index = str(context.payload.get("torch_index") or "")
    total = len(engine.steps) + 2
    context.progress("making the environment", 0, total)
    environments.clear(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", str(folder)], context, folder, "The environment could not be made.")
    for done, step in enumerate(engine.steps, start=1):
        context.progress(f"installing {step[0]}", done, total)
        options = ["--index-url", index] if index and step[0].startswith("torch==") else []
        _run(
            [
                str(folder / "bin" / "python"),
                "-m",
                "pip",
                "install",
                "--progress-bar",
                "off",
                *options,
                *step,
            ],
            context,
            folder,
            f"pip could not install {step[0]}.",
        )
    context.progress("looking it over", total - 1, total)
    packages = _look_over(engine, context, folder)
    write_json(folder / environments.MARK, {"packages": packages, "at": time.time()})
    context.result({"folder": str(folder), "packages": packages})


def _look_over(engine: Engine, context: JobContext, folder: Path) -> dict[str, str]:
    python = str(folder / "bin" / "python")
    _run(
        [python, "-c", f"import torch, {engine.name}"],
        context,
        folder,
        f"{engine.title} was installed and does not start.",
    )
    asked = [python, "-c", _ASK, engine.name, *_NAMED]
    said = subprocess.run(
        asked, env=environments.child_environment(folder), check=True, capture_output=True, text=True
    )
    found: dict[str, str] = json.loads(said.stdout)
    return found


def _run(command: Sequence[str], context: JobContext, folder: Path, failure: str) -> None:
    """Run a command to its end, its output in the job's log; end it where someone asks to stop."""
    print(f"$ {' '.join(command)}", flush=True)
    with subprocess.Popen(command, env=environments.child_environment(folder)) as child:
        try:
            while child.poll() is None:
                if context.stop_requested():
                    raise Stopped
                time.sleep(_LOOK_SECONDS)
        finally:
            _end(child)
    if child.returncode != 0:
        raise StudioError(failure, "The end of the log says why; mend that and install again.")


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
