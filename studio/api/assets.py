"""Scripts that the pages need, served from packages installed here: nothing comes from a CDN."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from studio.api.context import PUBLIC
from studio.core import Unavailable

router = APIRouter(include_in_schema=False)

_DAY = "public, max-age=86400"
_HOUR = "public, max-age=3600"
_DOOR_STYLES = Path(__file__).with_name("door.css")


_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 34 34" fill="none" stroke-width="4">'
    '<circle cx="12" cy="17" r="9" stroke="#1f6fb2"/><circle cx="22" cy="17" r="9" stroke="#b85a0a"/></svg>'
)


@router.get("/favicon.ico", dependencies=[PUBLIC])
def favicon() -> Response:
    """The two rings of the wordmark; browsers take the type over the name."""
    return Response(_ICON, media_type="image/svg+xml", headers={"Cache-Control": _DAY})


@router.get("/assets/plotly.min.js", dependencies=[PUBLIC])
def plotly() -> FileResponse:
    """Plotly.js as the plotly package ships it."""
    return FileResponse(_plotly_path(), media_type="text/javascript", headers={"Cache-Control": _DAY})


@router.get("/assets/door.css", dependencies=[PUBLIC])
def door_styles() -> FileResponse:
    """The style sheet of the log-in pages."""
    return FileResponse(_DOOR_STYLES, media_type="text/css", headers={"Cache-Control": _HOUR})


def _plotly_path() -> Path:
    # find_spec locates the package without importing it, which would cost memory and start-up time.
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise Unavailable("The package plotly is not installed.", "Run make install again.")
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"
