"""Which files an import may read.

A path is resolved first, symlinks and all, and judged by where it really leads. Only regular files pass:
a pipe or a device would hold the studio up for ever.
"""

from __future__ import annotations

from pathlib import Path

from studio.core.errors import Forbidden, InvalidInput, TooLarge
from studio.core.settings import Settings
from studio.datasets.readers import MIB, Budget
from studio.datasets.uploads import Uploads

# Text compresses about fourfold in Parquet; twice that is room for honest files.
_UNPACKED = 8


def resolve_source(source: Path, settings: Settings) -> Path:
    """The real path of a file that may be imported.

    Raises:
        InvalidInput: There is no such regular file.
        Forbidden: It lies outside the directories that imports may read.
        TooLarge: It is over the upload limit.
    """
    try:
        real = source.expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        raise InvalidInput(f"There is no file {source}.", "Check the path.") from None
    _require_root(source, real, settings)
    if not real.is_file():
        raise InvalidInput(f"{source} is not a regular file.", "Give the path of one file.")
    size = real.stat().st_size
    if size > settings.max_upload_mb * MIB:
        raise TooLarge(
            f"{source.name} has {size / MIB:.1f} MiB; at most {settings.max_upload_mb} may be imported.",
            "Split it, or raise STUDIO_MAX_UPLOAD_MB.",
        )
    return real


def _require_root(source: Path, real: Path, settings: Settings) -> None:
    uploaded = Uploads(settings.home).holds(real)
    if not uploaded and real.is_relative_to(settings.home.resolve()):
        # Its own files would show what is private, and its keys.
        raise Forbidden(
            f"{source} is one of the studio's own files.", "Import a file from elsewhere, or upload it."
        )
    roots = [Path(root).expanduser().resolve() for root in settings.import_roots.split(":") if root.strip()]
    allowed = not roots or uploaded
    if not allowed and not any(real.is_relative_to(root) for root in roots):
        raise Forbidden(
            f"{source} lies outside the directories that imports may read.",
            "Upload the file, or move it into one of STUDIO_IMPORT_ROOTS.",
        )


def budget_of(settings: Settings) -> Budget:
    """What a file may hold when it is unpacked."""
    return Budget(total=_UNPACKED * settings.max_upload_mb * MIB)
