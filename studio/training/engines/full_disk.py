"""Whether something failed because the disk is full, whatever library it passed through.

``OSError`` has a number for it; safetensors and torch turn it into errors of their own with the number in
the text, or with nothing but "write failed".
"""

from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path

from studio.core import StudioError

#: No space, over one's quota, or over the size that a file may have.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SAID = re.compile(
    r"no space left|disk quota exceeded|file too large|os error (28|122|27)\b|errno (28|122|27)\b", re.I
)
_WRITING = re.compile(r"writing file|write failed|failed to write|unexpected pos", re.I)
#: With less room than this, an error in writing is taken to come of it.
_LITTLE = 16 * 1024 * 1024


def is_full(error: BaseException, place: Path) -> bool:
    """Whether ``error``, from writing below ``place``, says that there is no room."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        if _SAID.search(str(seen)) or (_WRITING.search(str(seen)) and _free(place) < _LITTLE):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def translated(error: Exception, place: Path) -> Exception:
    """``error``, or one in words where it comes of a full disk."""
    if isinstance(error, StudioError) or not is_full(error, place):
        return error
    return StudioError(
        "The disk is full: the run could not write its files.",
        "Free some space and resume; it goes on from its newest checkpoint.",
    )


def _free(place: Path) -> int:
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free
