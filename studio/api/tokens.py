"""Tokens: how a program speaks for a person. A token makes no other token."""

from __future__ import annotations

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from studio.accounts import NewToken, Token
from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.core import EVERYONE

router = APIRouter(prefix="/tokens", tags=["accounts"])


class TokenView(BaseModel):
    """A token without its secret."""

    id: str
    label: str
    owner: str
    scopes: list[Scope]
    created_at: float
    expires_at: float | None
    last_used_at: float | None
    revoked_at: float | None


class TokenRequest(BaseModel):
    """A token to make; ``read`` is always among its scopes. ``expires_days`` null is never."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(min_length=1, max_length=100)
    scopes: list[Scope] = Field(default_factory=list, max_length=len(Scope))
    expires_days: int | None = Field(90, ge=1, le=3650)


class MadeView(BaseModel):
    """A new token; ``secret`` is shown this once."""

    token: TokenView
    secret: str


def _view(token: Token) -> TokenView:
    return TokenView(
        id=token.id,
        label=token.label,
        owner=token.owner,
        scopes=sorted(token.scopes),
        created_at=token.created_at,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
        revoked_at=token.revoked_at,
    )


@router.get("", dependencies=[allow(*EVERYONE, scope=Scope.READ)])
def tokens(studio: TheStudio, actor: TheActor, owner: str = Query("", max_length=40)) -> list[TokenView]:
    """One's own tokens, or those of ``owner`` for an admin; newest first, those that ended too."""
    return [_view(token) for token in studio.accounts.tokens(actor, owner)]


@router.post("", status_code=201, dependencies=[allow(*EVERYONE, scope=None)])
def create(request: TokenRequest, studio: TheStudio, actor: TheActor) -> MadeView:
    """Make a token for oneself."""
    wanted = NewToken(request.label, frozenset(request.scopes) | {Scope.READ}, request.expires_days)
    token, secret = studio.accounts.create_token(actor, wanted)
    return MadeView(token=_view(token), secret=secret)


@router.delete("/{token_id}", dependencies=[allow(*EVERYONE, scope=None)])
def revoke(token_id: str, studio: TheStudio, actor: TheActor) -> TokenView:
    """End a token: one's own, or any for an admin."""
    return _view(studio.accounts.revoke_token(actor, token_id))
