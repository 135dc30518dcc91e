"""What every route needs: the studio, and who asks."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from studio.core import LOCAL_ADMIN, Actor
from studio.studio import Studio


def _studio(request: Request) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


def _actor() -> Actor:
    # Accounts come later; until then the studio answers on loopback only.
    return LOCAL_ADMIN


TheStudio = Annotated[Studio, Depends(_studio)]
TheActor = Annotated[Actor, Depends(_actor)]
