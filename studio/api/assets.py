"""Scripts that the pages need, served from packages installed here: nothing comes from a CDN."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from studio.core import Unavailable

router = APIRouter(include_in_schema=False)

_DAY = "public, max-age=86400"


@router.get("/assets/plotly.min.js")
def plotly() -> FileResponse:
    """Plotly.js as the plotly package ships it."""
    return FileResponse(_plotly_path(), media_type="text/javascript", headers={"Cache-Control": _DAY})


def _plotly_path() -> Path:
    # find_spec locates the package without importing it, which would cost memory and start-up time.
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise Unavailable("The package plotly is not installed.", "Run make install again.")
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"
