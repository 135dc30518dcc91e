"""Puts the routers together into one FastAPI application.

``/docs`` works without a network: its scripts come from a package, not from a CDN.
"""

from __future__ import annotations

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from studio import __version__
from studio.api import (
    annotation,
    assets,
    battles,
    datasets,
    deployments,
    evaluations,
    feedback,
    health,
    jobs,
    metrics,
    models,
    predict,
    runs,
    train,
)
from studio.api.errors import install_error_handlers
from studio.api.guard import Guard
from studio.studio import Studio

_ROUTERS = (
    health,
    datasets,
    train,
    runs,
    jobs,
    models,
    evaluations,
    battles,
    feedback,
    annotation,
    deployments,
    predict,
    metrics,
    assets,
)

_DESCRIPTION = (
    "Data, training, blind comparison, preferences and deployments of one studio. "
    "Ids and names are the same here, in the user interface and in the logs."
)


def create_api(studio: Studio) -> FastAPI:
    """The REST application of ``studio``, guarded; the caller mounts the user interface on it."""
    app: FastAPI = FastAPIOffline(
        title="Tandem", version=__version__, description=_DESCRIPTION, redoc_url=None
    )
    app.state.studio = studio
    install_error_handlers(app)
    for module in _ROUTERS:
        app.include_router(module.router)
    app.add_middleware(Guard, settings=studio.settings)
    return app
