"""The checkpoints of a run: which there are, how good each is, keeping one as a model, deleting one.

The invariant: what an unfinished run may still need is never deleted, that is its newest checkpoint, the
best one where the recipe asks for it, and the one that it was told to go on from. A kept checkpoint has
files of its own: the trainer prunes the checkpoints, and a model version stays.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from studio.core import (
    SYSTEM,
    Actor,
    Conflict,
    InvalidInput,
    Node,
    NotFound,
    Unavailable,
    new_id,
    read_json,
    write_json,
)
from studio.core.files import tree_digest
from studio.registry import ModelKind, ModelVersion, NewWeights
from studio.registry.folders import MODEL_FILES, count_parameters, publish
from studio.training import checkpoints
from studio.training.desk import RunDesk
from studio.training.recipes import parse_recipe
from studio.training.records import Checkpoint
from studio.training.store import Entry

KEPT = "kept"
#: The trainer's own notes among the files of a checkpoint.
_NOT_THE_MODELS = ("trainer_state.json",)
#: How often a listing is tried that a trainer prunes meanwhile.
_LOOKS = 5


class Upkeep:
    """Lists, keeps and deletes checkpoints."""

    def __init__(self, desk: RunDesk) -> None:
        self._desk = desk

    def listed(self, entry: Entry) -> tuple[Checkpoint, ...]:
        """The complete checkpoints of a run, newest first."""
        root = self._desk.checkpoints(entry.id)
        for _ in range(_LOOKS):
            with suppress(OSError):  # the trainer removed one just now
                return tuple(reversed(checkpoints.listing(root)))
        return ()

    def require_step(self, entry: Entry, step: int) -> Path:
        """Where the complete checkpoint of a step stands; every byte of it was looked at.

        Raises:
            NotFound: There is none.
        """
        path = checkpoints.at(self._desk.checkpoints(entry.id), step)
        if path is None:
            there = ", ".join(str(one.step) for one in self.listed(entry)[:20])
            raise NotFound(
                f"{entry.name} has no complete checkpoint at step {step}.",
                f"Take one of the steps {there}." if there else "It has none yet.",
            )
        return path

    def delete(self, actor: Actor, entry: Entry, step: int) -> None:
        """Remove a checkpoint for ever.

        Raises:
            NotFound: There is none at that step.
            Conflict: The run may still need it.
        """
        found = {one.step: one for one in self.listed(entry)}
        if step not in found:
            self.require_step(entry, step)
        elif entry.output_version_id is None:
            _refuse_needed(entry, found[step])
        checkpoints.remove(self._desk.checkpoints(entry.id), step)
        self._desk.audit.record(actor, "deleted checkpoint", Node("run", entry.id), f"step {step}")

    def keep(self, actor: Actor, entry: Entry, step: int, name: str) -> ModelVersion:
        """Register a checkpoint as a model version; doing it again gives the same version.

        Raises:
            NotFound: There is no complete checkpoint at that step.
            InvalidInput: Nothing can have the name, or the files are no weights.
            Conflict: The name is not the actor's to add to.
        """
        checkpoint = self.require_step(entry, step)
        name = name.strip() or entry.output
        model = self._desk.registry.version(SYSTEM, entry.model_version_id)
        self._desk.registry.admit(actor, name, model.id, self._desk.made_of(entry))
        base = self._desk.registry.version(SYSTEM, model.base_id)
        adapts = parse_recipe(entry.stage, entry.recipe).adapts
        folder = self._published(entry, checkpoint, None if adapts else base.path)
        version = self._desk.registry.register_weights(
            actor,
            NewWeights(
                name=name,
                kind=ModelKind.ADAPTER if adapts else ModelKind.MERGED,
                path=folder,
                base_id=model.base_id,
                parent_id=model.id,
                run_id=entry.id,
                parameters=sum(map(count_parameters, folder.glob("*.safetensors"))),
                made_of=self._desk.made_of(entry),
                step=step,
            ),
        )
        self._desk.audit.record(
            actor, "kept checkpoint", Node("run", entry.id), f"step {step} as {version.reference}"
        )
        return version

    def _published(self, entry: Entry, checkpoint: Path, base: Path | None) -> Path:
        """A folder with the checkpoint's weights alone; ``base`` lends what whole weights lack there."""
        kept = self._desk.directory(entry.id) / KEPT
        staging = kept / f".{new_id('keep')}"
        target: Path | None = None
        try:
            # By content: the same step of another history (the run went back and came here again) is another.
            digest = tree_digest(checkpoint, "*.safetensors")
            target = kept / f"{checkpoint.name}-{digest[:12]}"
            if not target.is_dir():
                staging.mkdir(parents=True)
                _gather(checkpoint, staging, base)
                publish(staging, target)
        except OSError as error:
            if target is not None and target.is_dir():
                return target  # Somebody else kept it at the same time.
            if not (checkpoint / checkpoints.MARK).exists():
                raise Conflict(
                    "The trainer removed this checkpoint just now.", "Take a newer one from the list."
                ) from error
            raise Unavailable(
                f"The checkpoint could not be kept: {error.strerror}.", "See that the disk has room."
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return target


def _refuse_needed(entry: Entry, found: Checkpoint) -> None:
    """Refuse to delete what a run needs to go on, or to end as its recipe says."""
    if found.newest:
        why = f"is the newest one, and {entry.name} could not go on without it"
    elif found.best and parse_recipe(entry.stage, entry.recipe).keep_best:
        why = f"is the best one, and {entry.name} is to give out the best"
    elif entry.ended_at is None and entry.resume_step == found.step:
        why = f"is what {entry.name} goes on from"
    else:
        return
    raise Conflict(f"The checkpoint of step {found.step} {why}.", "Delete an older one, or keep it.")


def _weights(folder: Path) -> Iterator[Path]:
    """The files in a checkpoint that are the model's."""
    names = {path.name for pattern in MODEL_FILES for path in folder.glob(pattern) if path.is_file()}
    return (folder / name for name in sorted(names.difference(_NOT_THE_MODELS)))


def _gather(checkpoint: Path, staging: Path, base: Path | None) -> None:
    for file in _weights(checkpoint):
        _take(file, staging / file.name)
    if base is None:
        return
    for file in _weights(base):
        if file.suffix != ".safetensors" and "index" not in file.name and not (staging / file.name).exists():
            shutil.copyfile(file, staging / file.name)
    _serve_with_cache(staging / "config.json")


def _take(file: Path, target: Path) -> None:
    """Weights are linked, as a checkpoint's files never change; what is small is copied."""
    if file.suffix == ".safetensors":
        with suppress(OSError):  # another file system, or none that links
            os.link(file, target)
            return
    shutil.copyfile(file, target)


def _serve_with_cache(config: Path) -> None:
    """Off while a model is trained; whoever serves it wants it on."""
    values = read_json(config)
    if not isinstance(values, dict):
        raise InvalidInput(f"The checkpoint holds no {config.name}.", "Take another one.")
    write_json(config, values | {"use_cache": True})
