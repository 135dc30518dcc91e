"""Logging in through an identity provider: OpenID Connect's authorization code flow with PKCE.

State, nonce and the PKCE verifier of an attempt lie in a short-lived signed cookie of the browser that
began it, so an answer of the provider counts only there and once. The key lives as long as the process:
after a restart an attempt that was under way begins again. The provider says who somebody is; roles are
given here.

Of the provider's keys, algorithms with a shared secret are not accepted, and its documents are read
anew for each attempt, so a key that was taken back is not trusted.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.responses import RedirectResponse, Response

from studio.api import screens
from studio.api.context import PUBLIC, TheStudio
from studio.api.login import enter, safe_target
from studio.core import Conflict, NotFound, Settings, StudioError, Unauthenticated, Unavailable
from studio.core.settings import is_loopback

router = APIRouter(prefix="/oidc", include_in_schema=False, dependencies=[PUBLIC])

_log = logging.getLogger(__name__)

_ATTEMPT = "tandem_oidc"
_ATTEMPT_SECONDS = 600
_TIMEOUT_SECONDS = 10.0
_CLOCK_SKEW_SECONDS = 60
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_signer = URLSafeTimedSerializer(secrets.token_bytes(32), salt="oidc-attempt")


@dataclass(frozen=True)
class Attempt:
    """What the browser that began must bring back."""

    state: str
    nonce: str
    verifier: str
    target: str


@dataclass(frozen=True)
class Identity:
    """Whom the provider vouches for."""

    subject: str
    name: str
    full_name: str


@router.get("/login")
def begin(request: Request, studio: TheStudio) -> Response:
    """Send the browser to the provider."""
    try:
        _require_ready(studio)
        attempt = Attempt(
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(64),
            safe_target(request.query_params.get("next", "")),
        )
        address = Provider(studio.settings).address(attempt)
    except StudioError as error:
        return screens.sorry("Log in", error)
    answer = RedirectResponse(address, 303)
    answer.set_cookie(
        _ATTEMPT,
        _signer.dumps(asdict(attempt)),
        max_age=_ATTEMPT_SECONDS,
        path="/oidc",
        secure=studio.settings.https,
        httponly=True,
        samesite="lax",
    )
    return answer


@router.get("/callback")
def finish(request: Request, studio: TheStudio) -> Response:
    """Take what the provider sent the browser back with, and open a session."""
    try:
        _require_ready(studio)
        attempt = _attempt(request)
        provider = Provider(studio.settings)
        who = provider.identity(attempt, request.query_params)
        issuer = studio.settings.oidc_issuer
        cookie = studio.accounts.log_in_external(issuer, who.subject, who.name, who.full_name)
        answer = enter(request, studio, cookie, attempt.target)
    except StudioError as error:
        answer = screens.sorry("Log in", error)
    answer.delete_cookie(_ATTEMPT, path="/oidc", secure=studio.settings.https, httponly=True, samesite="lax")
    return answer


class Provider:
    """The identity provider as its own documents describe it."""

    def __init__(self, settings: Settings) -> None:
        self._issuer = settings.oidc_issuer
        self._client_id = settings.oidc_client_id
        self._secret = settings.oidc_client_secret.get_secret_value()
        self._return = f"{settings.public_url}/oidc/callback"

    def address(self, attempt: Attempt) -> str:
        """Where the browser has to go.

        Raises:
            Unavailable: The provider does not answer as one.
        """
        with _asking(), self._client({}) as client:
            where = self._description(client)["authorization_endpoint"]
            address: str = client.create_authorization_url(
                where, state=attempt.state, nonce=attempt.nonce, code_verifier=attempt.verifier
            )[0]
            return address

    def identity(self, attempt: Attempt, answer: Mapping[str, str]) -> Identity:
        """Whom the provider vouches for in ``answer``, the query it sent the browser back with.

        Raises:
            Unauthenticated: It vouches for nobody, or for somebody who began elsewhere.
            Unavailable: The provider does not answer as one.
        """
        self._check_answer(attempt, answer)
        with _asking(), self._client({}) as plain:
            described = self._description(plain)
            with self._client(described) as client:
                token = client.fetch_token(
                    described["token_endpoint"],
                    grant_type="authorization_code",
                    code=answer["code"],
                    code_verifier=attempt.verifier,
                )
                keys = _document(client, described["jwks_uri"])
                claims = self._claims(token, keys, attempt)
                if "userinfo_endpoint" in described and not _names(claims)[0]:
                    claims = {**_user_info(client, described["userinfo_endpoint"], claims["sub"]), **claims}
        name, full_name = _names(claims)
        return Identity(str(claims["sub"]), name, full_name)

    def _check_answer(self, attempt: Attempt, answer: Mapping[str, str]) -> None:
        if not secrets.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            raise _not_from_here()
        # RFC 9207: where a provider names itself, another one must not answer in its place.
        if answer.get("iss", self._issuer) != self._issuer:
            raise _not_from_here()
        if "error" in answer or not answer.get("code"):
            raise Unauthenticated("The identity provider did not let you in.", "Try again, or ask an admin.")

    def _client(self, described: Mapping[str, Any]) -> Any:
        from authlib.integrations.httpx_client import OAuth2Client

        methods = described.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        basic = "client_secret_basic" in methods
        return OAuth2Client(
            self._client_id,
            self._secret,
            token_endpoint_auth_method="client_secret_basic" if basic else "client_secret_post",
            scope="openid profile email",
            redirect_uri=self._return,
            code_challenge_method="S256",
            timeout=_TIMEOUT_SECONDS,
            follow_redirects=False,
        )

    def _description(self, client: Any) -> dict[str, Any]:
        found = _document(client, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != self._issuer:
            raise Unavailable(
                "The identity provider calls itself otherwise than STUDIO_OIDC_ISSUER.",
                "Set it exactly as the provider's documentation writes it.",
            )
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            _require_secure(str(found.get(name, "")))
        return found

    def _claims(self, token: Mapping[str, Any], keys: Any, attempt: Attempt) -> dict[str, Any]:
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.jwk import KeySet

        decoded = jwt.decode(token["id_token"], KeySet.import_key_set(keys), algorithms=_ALGORITHMS)
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            options={
                "iss": {"essential": True, "value": self._issuer},
                "aud": {"essential": True, "value": self._client_id},
                "sub": {"essential": True},
            },
            params={
                "nonce": attempt.nonce,
                "client_id": self._client_id,
                "access_token": token.get("access_token"),
            },
        )
        claims.validate(leeway=_CLOCK_SKEW_SECONDS)
        return dict(claims)


class _asking(AbstractContextManager[None]):  # noqa: N801  (reads as a word: with _asking())
    """Turns what a provider does wrong into sentences; the log has the rest."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        from authlib.common.errors import AuthlibBaseError
        from httpx2 import HTTPError
        from joserfc.errors import JoseError

        if isinstance(error, JoseError | AuthlibBaseError):
            _log.warning("What the identity provider said could not be verified.", exc_info=error)
            raise Unauthenticated(
                "What the identity provider said about you could not be verified.",
                "Try again; if it happens again, tell an admin.",
            ) from error
        # What a provider sends may have any shape; the log tells a fault of ours from one of theirs.
        if isinstance(error, HTTPError | ValueError | KeyError | TypeError | AttributeError):
            _log.warning("The identity provider does not answer as one.", exc_info=error)
            raise Unavailable(
                "The identity provider does not answer as one.", "Try again later, or log in with a password."
            ) from error


def _require_ready(studio: TheStudio) -> None:
    if not studio.settings.oidc:
        raise NotFound("No identity provider is set.", "Log in with a name and a password.")
    if not studio.accounts.exist():
        raise Conflict("The studio has no accounts yet.", "Add an admin at /setup first.")


def _attempt(request: Request) -> Attempt:
    try:
        found = _signer.loads(request.cookies.get(_ATTEMPT, ""), max_age=_ATTEMPT_SECONDS)
    except BadData:
        raise _not_from_here() from None
    return Attempt(**found)


def _not_from_here() -> Unauthenticated:
    return Unauthenticated(
        "This log-in was not begun in this browser, or too long ago.", "Begin it again from the log-in page."
    )


def _document(client: Any, address: str) -> dict[str, Any]:
    answer = client.request("GET", address, withhold_token=True)
    answer.raise_for_status()
    found = answer.json()
    if not isinstance(found, dict):
        raise ValueError(f"{address} is no JSON object")
    return found


def _user_info(client: Any, address: str, subject: str) -> dict[str, Any]:
    _require_secure(address)
    answer = client.get(address)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    if found.get("sub") != subject:
        raise ValueError("the provider speaks of somebody else")
    return found


def _names(claims: Mapping[str, Any]) -> tuple[str, str]:
    """The wish for a name to log in with, and the full name."""
    wished = claims.get("preferred_username") or claims.get("email") or ""
    return str(wished), str(claims.get("name") or "")


def _require_secure(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise Unavailable("The identity provider names an address without TLS.", "Ask whoever runs it.")
