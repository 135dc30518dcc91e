"""A run by another engine, from its rows to its weights; imports no torch.

The engine is a child in a process group of its own whose output is the job's log: no pipe between them can
fill up. While it trains, what it measured and saved is taken over; a stop asks it to save, waits for that
checkpoint and ends it. What an attempt that was killed left behind is taken over by the next one.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from studio.core import InvalidInput, StudioError, write_json
from studio.jobs import JobContext
from studio.jobs.devices import read_gpus
from studio.training import checkpoints
from studio.training.engines import usage
from studio.training.engines.external import axolotl, environments, llamafactory, rows, shelf
from studio.training.engines.external.environments import Environment
from studio.training.engines.external.handover import hand_over, has_weights
from studio.training.engines.external.order import EVALUATION, Order, stored_in_half
from studio.training.engines.external.readings import Readings
from studio.training.engines.external.shelf import Shelf
from studio.training.engines.external.view import with_template
from studio.training.metrics import rewind
from studio.training.task import RESULT, TrainTask

#: Everything that belongs to the engine, in the run's folder.
FOLDER = "engine"
SETTINGS = "settings.yaml"
_MODULES = {"llamafactory": "llamafactory.launcher", "axolotl": "axolotl.cli.train"}
_SETTINGS: dict[str, Callable[[Order], dict[str, Any]]] = {
    "llamafactory": llamafactory.settings,
    "axolotl": axolotl.settings,
}
_LOOK_SECONDS = 0.2


def train(task: TrainTask, context: JobContext) -> bool:
    """Train ``task`` to its end (True) or to a stop request (False); its weights are then in place.

    Raises:
        StudioError: The engine is not installed, cannot do what the recipe says, failed, or diverged.
    """
    environment = _environment(task)
    refused = tuple(refusals(task))
    if refused:
        raise InvalidInput(f"{environment.engine.title} cannot run this recipe.", "", refused)
    with usage.watch(task):
        return _Attempt(task, context, environment).run()


def refusals(task: TrainTask) -> Iterator[str]:
    """What the engine of ``task`` cannot do of it."""
    asked = {"llamafactory": llamafactory.refusals, "axolotl": axolotl.refusals}[task.recipe.engine]
    yield from asked(task.recipe, task.adapter)


def home_of(task: TrainTask) -> Path:
    """The studio's home: a run's folder is ``home/runs/<run id>``."""
    return task.directory.parents[1]


def _environment(task: TrainTask) -> Environment:
    name = task.recipe.engine
    found = environments.find(home_of(task), name)
    if found is None:
        title = environments.known(name).title
        raise InvalidInput(
            f"{title} is not installed.",
            f"Run `python -m studio engines install {name}`, then resume the run.",
        )
    return found


class _Attempt:
    """One attempt at a run: prepared, started, followed, ended."""

    def __init__(self, task: TrainTask, context: JobContext, environment: Environment) -> None:
        self._task = task
        self._context = context
        self._environment = environment
        self._folder = task.directory / FOLDER
        self._output = self._folder / "output"
        self._gpu = _sees_gpu()
        #: Why it was asked to save and end: empty, ``stop`` or ``early``.
        self._why = ""

    def run(self) -> bool:
        """See the attempt through; whether the run is done."""
        shelf.salvage(self._task, self._output)
        checkpoint = checkpoints.choose(self._task.checkpoints, self._task.resume_step)
        if self._task.metrics.exists():
            rewind(self._task.metrics, checkpoints.step_of(checkpoint) if checkpoint else -1)
        if checkpoint is not None:
            print(f"resuming from step {checkpoints.step_of(checkpoint)}", flush=True)
        order = self._prepare(checkpoint)
        counted = checkpoints.counted(checkpoint) if checkpoint else {}
        readings = Readings(self._task, self._context, self._folder / "events", counted, order.laps)
        try:
            code = self._follow(readings)
            return self._conclude(readings, code)
        finally:
            readings.close()
            shelf.salvage(self._task, self._output, before=readings.diverged_at)
            shutil.rmtree(self._output, ignore_errors=True)

    def _prepare(self, checkpoint: Path | None) -> Order:
        """Write everything that the engine reads."""
        self._context.progress("writing the data", 0, 0)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._output.mkdir(parents=True)
        (self._folder / "events").mkdir()
        data = self._folder / "rows"
        written = rows.write(self._task, self._task.recipe.engine, data)
        title = self._environment.engine.title
        if written.left_out:
            print(f"{written.left_out} rows left out that {title} cannot take", flush=True)
        if not written.evaluation:
            (data / EVALUATION).unlink()
        print(f"train: {written.train} rows, validation: {written.evaluation} rows", flush=True)
        order = Order(
            recipe=self._task.recipe,
            base=with_template(self._task.base, self._folder / "base"),
            adapter=self._task.adapter,
            data=data,
            output=self._output,
            evaluates=bool(written.evaluation),
            laps=written.laps,
            checkpoint=checkpoint,
            half=stored_in_half(self._task.base),
            gpu=self._gpu,
        )
        write_settings(order, self._folder / SETTINGS, data)
        return order

    def _follow(self, readings: Readings) -> int:
        """Run the engine and take over what it writes, until it ends; returns its exit code."""
        title = self._environment.engine.title
        self._context.progress(f"starting {title}", 0, 0)
        taken = Shelf(self._task, self._output, readings)
        with subprocess.Popen(
            self._command(),
            cwd=self._folder,
            env=self._variables(),
            stdin=subprocess.DEVNULL,
            process_group=0,
        ) as child:
            try:
                while child.poll() is None:
                    self._look(child, readings, taken)
                    time.sleep(_LOOK_SECONDS)
            finally:
                _end(child)
            readings.take(everything=True)
            taken.take()
        return child.returncode

    def _look(self, child: subprocess.Popen[bytes], readings: Readings, taken: Shelf) -> None:
        readings.take()
        saved = taken.take()
        if self._why:
            if saved:
                _end(child)
            return
        if self._context.stop_requested():
            self._ask_to_save(child, readings, "stop")
        elif readings.verdict.over:
            print(f"step {readings.step}: {readings.verdict.sentence}", flush=True)
            self._ask_to_save(child, readings, "early")

    def _ask_to_save(self, child: subprocess.Popen[bytes], readings: Readings, why: str) -> None:
        self._why = why
        self._context.progress("saving", readings.step, readings.max_steps)
        if not readings.under_way:
            _end(child)  # There is nothing yet to be saved.
        elif self._task.recipe.engine == "axolotl":
            (self._output / axolotl.SAVE_NOW).touch()
        else:
            with suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)

    def _conclude(self, readings: Readings, code: int) -> bool:
        newest = checkpoints.newest(self._task.checkpoints)
        step = checkpoints.step_of(newest) if newest else readings.step
        ended = 0 < readings.max_steps <= step
        if self._why == "stop" and not ended:
            return False
        if code != 0 and not (self._why and newest):
            self._fail(code)
        self._finish(readings, newest, step)
        return True

    def _fail(self, code: int) -> None:
        title = self._environment.engine.title
        if code == -signal.SIGKILL:
            # As the kernel ends what takes too much memory: the card looks for that, so it must see it.
            os.kill(os.getpid(), signal.SIGKILL)
        ended = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        raise StudioError(f"{title} ended {ended}.", "The end of the log says why.")

    def _finish(self, readings: Readings, newest: Path | None, step: int) -> None:
        self._context.progress("saving", step, readings.max_steps)
        task, source = self._task, self._output
        if self._why or not has_weights(task, source):
            source = newest or source
        best = checkpoints.best(task.checkpoints) if task.recipe.keep_best else None
        given = step
        if best is not None and best != newest:
            source, given = best, checkpoints.step_of(best)
            print(f"giving out step {given}", flush=True)
        result = {
            "path": str(task.output),
            "kind": "adapter" if task.recipe.adapts else "merged",
            "task": "chat",
            "parameters": hand_over(task, source),
            "steps": step,
            "step": given,
            "seconds": readings.seconds,
            "tokens": readings.tokens,
        }
        write_json(task.directory / RESULT, result)
        self._context.result(result)
        for name in ("rows", "cache"):
            shutil.rmtree(self._folder / name, ignore_errors=True)

    def _command(self) -> list[str]:
        python = [str(self._environment.python), "-m"]
        several = self._task.recipe.processes
        if several > 1:
            run = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(several), "-m"]
            python += run
        return [*python, _MODULES[self._task.recipe.engine], str(self._folder / SETTINGS)]

    def _variables(self) -> dict[str, str]:
        cores = len(os.sched_getaffinity(0))
        offline = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
        quiet = ("DO_NOT_TRACK", "AXOLOTL_DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "TQDM_DISABLE")
        return {
            "OMP_NUM_THREADS": str(max(1, cores // self._task.recipe.processes)),
            "OMP_WAIT_POLICY": "PASSIVE",
            **environments.child_environment(self._environment.folder),
            **dict.fromkeys((*offline, *quiet), "1"),
            **({} if self._gpu else {"ACCELERATE_USE_CPU": "true"}),
            # What stands in the working directory is data, never a module.
            "PYTHONSAFEPATH": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "LLAMAFACTORY_VERBOSITY": "WARN",
            "HF_HOME": str(self._folder / "cache"),
            "TENSORBOARD_LOGGING_DIR": str(self._folder / "events"),
        }


def write_settings(order: Order, path: Path, data: Path) -> None:
    """Write the engine's YAML file, and into ``data`` what it reads beside the rows."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)  # Both read that, in which 1e-05 is a word and 1.0e-05 the number.
    yaml.default_flow_style = False
    yaml.representer.sort_base_mapping_type_on_output = False
    with path.open("w", encoding="utf-8") as handle:
        yaml.dump(_SETTINGS[order.recipe.engine](order), handle)
    if order.recipe.engine == "llamafactory":
        write_json(data / llamafactory.DESCRIPTIONS, llamafactory.descriptions(order))


def _sees_gpu() -> bool:
    return os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1") and bool(read_gpus())


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the engine at once: what it had to save it has saved, and SIGTERM would have it save again.

    What it started in sessions of their own, the job's supervisor ends.
    """
    if child.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
