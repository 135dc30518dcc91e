"""Puts the routers together into one FastAPI application.

``/docs`` works without a network: its scripts come from a package, not from a CDN.
"""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline

from studio import __version__
from studio.api import (
    accounts,
    annotation,
    assets,
    audit,
    battles,
    board,
    checkpoints,
    curves,
    datasets,
    deployments,
    evaluations,
    feedback,
    health,
    jobs,
    login,
    metrics,
    models,
    oidc,
    predict,
    preflight,
    review,
    run_order,
    runs,
    sharing,
    sweeps,
    tokens,
    train,
)
from studio.api.doors import DOORS, Doors
from studio.api.errors import install_error_handlers
from studio.api.guard import Guard
from studio.api.headers import SecurityHeaders
from studio.studio import Studio

_ROUTERS = (
    health,
    datasets,
    preflight,
    train,
    curves,
    run_order,
    runs,
    checkpoints,
    sweeps,
    board,
    jobs,
    models,
    sharing,
    evaluations,
    battles,
    feedback,
    annotation,
    review,
    deployments,
    predict,
    metrics,
    accounts,
    tokens,
    audit,
    assets,
    login,
    oidc,
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
    _guard(app, studio)
    return app


def _guard(app: FastAPI, studio: Studio) -> None:
    """What every request passes, from the last of these lines to the first."""
    app.add_middleware(Doors, studio=studio)
    # Without credentials: a page elsewhere speaks with a token or not at all. It is here even where no
    # origin is invited, because Gradio adds a laxer one of its own to an application that has none.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(studio.settings.cross_origins),
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type"],
        allow_credentials=False,
    )
    app.add_middleware(Guard, settings=studio.settings, single_user=lambda: not studio.accounts.exist())
    app.add_middleware(SecurityHeaders, settings=studio.settings, doors=frozenset(DOORS))
