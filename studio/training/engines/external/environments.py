"""Where the other engines are installed: ``home/engines/<name>-<version>/``, one virtual environment each.

The invariant: an environment counts only once its mark is written, which is the last thing an installation
does. One without it is what an interrupted installation left, and the next one begins anew.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from studio.core import InvalidInput, read_json

ENGINES = "engines"
MARK = "COMPLETE"
_GB = 10**9


@dataclass(frozen=True)
class Engine:
    """A tool that can be installed.

    ``steps`` are what pip is asked for, one call after the other: torch first, since what comes later takes
    the build that is there. ``room`` is about what an installation takes on disk, in bytes, with the largest
    build of torch.
    """

    name: str
    title: str
    version: str
    steps: tuple[tuple[str, ...], ...]
    room: int

    def folder(self, home: Path) -> Path:
        """Where its environment stands, or would."""
        return home / ENGINES / f"{self.name}-{self.version}"


#: The versions that recipes are translated for. torchaudio fits one release of torch only, and that
#: of LLaMA-Factory is older than the studio's own; TensorBoard is how both tell what they measure.
CATALOGUE: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine(
            "llamafactory",
            "LLaMA-Factory",
            "0.9.5",
            (
                ("torch==2.9.1", "torchvision==0.24.1", "torchaudio==2.9.*"),
                ("llamafactory==0.9.5", "tensorboard==2.21.0", "bitsandbytes==0.50.2"),
            ),
            10 * _GB,
        ),
        Engine("axolotl", "Axolotl", "0.19.0", (("torch==2.13.0",), ("axolotl==0.19.0",)), 10 * _GB),
    )
}


@dataclass(frozen=True)
class Environment:
    """A complete environment; ``packages`` are the versions of what decides a run's outcome."""

    engine: Engine
    folder: Path
    packages: dict[str, str]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"


def known(name: str) -> Engine:
    """The engine called ``name``.

    Raises:
        InvalidInput: There is none.
    """
    if name not in CATALOGUE:
        raise InvalidInput(f"There is no engine {name[:40]!r}.", f"Take one of: {', '.join(CATALOGUE)}.")
    return CATALOGUE[name]


def find(home: Path, name: str) -> Environment | None:
    """The complete environment of an engine on a studio's home; None where it is not installed."""
    engine = CATALOGUE.get(name)
    if engine is None:
        return None
    folder = engine.folder(home)
    try:
        mark = read_json(folder / MARK)
    except (OSError, ValueError):
        return None
    found = Environment(engine, folder, dict((mark or {}).get("packages", {})))
    return found if mark is not None and found.python.exists() else None


def clear(folder: Path) -> None:
    """Remove an environment, its mark first: one that is half removed must not count."""
    (folder / MARK).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def child_environment(folder: Path) -> dict[str, str]:
    """What a process of an environment sees: its own programs first, nothing of our Python or secrets."""
    ours = ("PYTHONPATH", "PYTHONSAFEPATH", "PYTHONHOME", "VIRTUAL_ENV", "STUDIO_OIDC_CLIENT_SECRET")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    path = os.pathsep.join((str(folder / "bin"), os.environ.get("PATH", os.defpath)))
    return {**kept, "PATH": path, "VIRTUAL_ENV": str(folder)}
