"""Findings about the machine, looked at afresh each time: disk, memory, GPUs, and what is installed.

What is said about GPUs is tested with made-up ones: no machine with a GPU was at hand.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from studio.core import StudioError
from studio.jobs.devices import read_gpus
from studio.training.engines.external import environments
from studio.training.memory import MemoryEstimate, read_shape
from studio.training.memory import Subject as Needs
from studio.training.preflight.records import Finding, Severity
from studio.training.preflight.subject import Subject

#: An adapter's or model's weights in float32, and the two moments that AdamW keeps of each.
_WEIGHT_BYTES, _OPTIMIZER_BYTES = 4, 8
#: So much of the free disk may be taken without a word.
_EASY_SHARE = 0.8
_GB = 10**9


def free_disk(home: Path) -> int:
    """Bytes that are free where runs are written."""
    return shutil.disk_usage(home).free


def found_gpus() -> tuple[int, ...]:
    """The indices of the GPUs of this machine."""
    return tuple(gpu.index for gpu in read_gpus())


def installed(package: str) -> bool:
    """Whether a package is installed here, found without importing it."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


@dataclass(frozen=True)
class Machine:
    """How the machine is looked at; a test puts another one in its place."""

    home: Path
    estimate: Callable[[Needs], MemoryEstimate]
    free_disk: Callable[[Path], int] = free_disk
    gpus: Callable[[], tuple[int, ...]] = found_gpus
    installed: Callable[[str], bool] = installed

    def check(
        self, subject: Subject, longest: int | None, learnt: float, devices: tuple[int, ...] = ()
    ) -> Iterator[Finding]:
        """Everything about the machine.

        Args:
            subject: What is to be run.
            longest: Tokens of the longest row; None where it is not known.
            learnt: The share of the tokens that is learnt; 1 where it is not known.
            devices: The GPUs that were asked for by number.
        """
        yield from self._engine(subject)
        yield from self._gpus(subject, devices)
        yield from self._disk(subject)
        yield from self._memory(subject, longest, learnt)

    def _engine(self, subject: Subject) -> Iterator[Finding]:
        recipe = subject.recipe
        if recipe.engine != "trl":
            if environments.find(self.home, recipe.engine) is None:
                yield Finding(
                    Severity.ERROR,
                    "engine",
                    f"{environments.known(recipe.engine).title} is not installed.",
                    f"Run `python -m studio engines install {recipe.engine}`, or take engine: trl.",
                )
            return
        needed = {"trl": "engine", "torch": "engine"}
        if recipe.adapts:
            needed["peft"] = "method"
        if recipe.method == "qlora":
            needed["bitsandbytes"] = "method"
        if recipe.parallel == "deepspeed":
            needed["deepspeed"] = "parallel"
        for package, field in needed.items():
            if not self.installed(package):
                yield Finding(
                    Severity.ERROR,
                    field,
                    f"The package {package}, which this needs, is not installed.",
                    f"Install it (`pip install {package}`), or change {field}.",
                )

    def _gpus(self, subject: Subject, devices: tuple[int, ...]) -> Iterator[Finding]:
        recipe, there = subject.recipe, self.gpus()
        gone = [str(index) for index in devices if index not in there]
        if gone:
            has = f"there are {', '.join(map(str, there))}" if there else "this machine has none"
            yield Finding(
                Severity.ERROR,
                "devices",
                f"GPU {', '.join(gone)} is asked for, and {has}.",
                "Choose others, or leave the choice to the queue.",
            )
        if not there:
            yield from _without_gpu(subject)
        elif recipe.processes > len(there):
            yield Finding(
                Severity.ERROR,
                "processes",
                f"{recipe.processes} processes are asked for, one a GPU, and there "
                f"{'is' if len(there) == 1 else 'are'} {len(there)}.",
                f"Give processes: {len(there)}.",
            )

    def _disk(self, subject: Subject) -> Iterator[Finding]:
        needed, one = disk_bytes(subject)
        free = self.free_disk(self.home)
        if needed <= free * _EASY_SHARE:
            return
        kept = subject.recipe.keep_checkpoints + 1
        yield Finding(
            Severity.ERROR if needed > free else Severity.WARNING,
            "keep_checkpoints",
            f"{kept} checkpoints of about {one / _GB:.2f} GB and what the run makes take about "
            f"{needed / _GB:.2f} GB, and {free / _GB:.2f} GB of disk are free.",
            "Delete old runs or checkpoints, keep fewer checkpoints, or train an adapter.",
        )

    def _memory(self, subject: Subject, longest: int | None, learnt: float) -> Iterator[Finding]:
        adapter = subject.adapter.path if subject.adapter else None
        try:
            found = self.estimate(Needs(subject.recipe, subject.base.path, adapter, longest, learnt))
        except StudioError as error:
            yield Finding(Severity.NOTE, "model", f"Its memory cannot be estimated: {error.message}", "")
            return
        said = f"The run needs about {found.total / _GB:.2f} GB of memory"
        if found.fits:
            yield Finding(Severity.NOTE, "", f"{said}, and {found.available / _GB:.2f} GB are free.", "")
            return
        todo = found.fix.sentence if found.fix else "Take a smaller model, or a machine with more memory."
        # The studio's own model servers may give way, and an estimate is one: so this does not refuse.
        yield Finding(
            Severity.WARNING, "", f"{said}, and only {found.available / _GB:.2f} GB are free.", todo
        )


def disk_bytes(subject: Subject) -> tuple[int, int]:
    """What a run writes at most at one time, and what one of its checkpoints takes, in bytes.

    A new checkpoint is whole before an old one goes; the best one may be kept beside them.
    """
    recipe = subject.recipe
    trained = _trained_parameters(subject)
    one = trained * (_WEIGHT_BYTES + _OPTIMIZER_BYTES)
    kept = recipe.keep_checkpoints + 1 + recipe.keep_best
    return kept * one + trained * _WEIGHT_BYTES, one


def _trained_parameters(subject: Subject) -> int:
    if not subject.recipe.adapts:
        return subject.base.parameters
    if subject.adapter is not None:
        return subject.adapter.parameters
    try:
        shape = read_shape(subject.base.path)
    except (StudioError, OSError, ValueError):
        return 0
    lora = subject.recipe.lora
    return sum(
        linear.count * lora.r * (linear.inputs + linear.outputs) for linear in shape.adapted(lora.targets)
    )


def _without_gpu(subject: Subject) -> Iterator[Finding]:
    recipe = subject.recipe
    if recipe.attention == "flash":
        yield Finding(
            Severity.ERROR,
            "attention",
            "Flash attention is asked for and needs a GPU, and this machine has none.",
            "Give attention: auto.",
        )
    if recipe.dtype == "fp16":
        yield Finding(
            Severity.ERROR,
            "dtype",
            "fp16 is asked for and needs a GPU, and this machine has none.",
            "Give dtype: auto, or bf16.",
        )
    if recipe.dtype == "bf16" and recipe.engine == "axolotl":
        yield Finding(
            Severity.ERROR,
            "dtype",
            "Axolotl trains in bf16 on GPUs only, and this machine has none.",
            "Give dtype: auto, or fp32.",
        )
    if recipe.parallel != "ddp":
        yield Finding(
            Severity.WARNING,
            "parallel",
            f"{recipe.parallel} is made for GPUs, and this machine has none.",
            "Give parallel: ddp.",
        )
    if recipe.processes > 1:
        yield Finding(
            Severity.NOTE,
            "processes",
            f"There is no GPU, so {recipe.processes} processes share the processor's cores.",
            "Give processes: 1 unless you mean to try it out.",
        )
