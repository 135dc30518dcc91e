"""A small OpenID Connect provider on loopback: real keys, real HTTP, and every lie it is told to tell."""

from __future__ import annotations

import hmac
import json
import secrets
import time
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CLIENT_ID = "tandem"
CLIENT_SECRET = "a secret of the client"


@dataclass
class Provider:
    """Vouches for ``person``; what stands in ``claims`` replaces what it would say truly."""

    issuer: str = ""
    person: dict[str, Any] = field(
        default_factory=lambda: {"sub": "s-1", "preferred_username": "Dana.Fox", "name": "Dana Fox"}
    )
    claims: dict[str, Any] = field(default_factory=dict)
    described: dict[str, Any] = field(default_factory=dict)
    user_info: dict[str, Any] | None = None
    algorithm: str = "RS256"
    foreign_key: bool = False
    broken: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self._codes: dict[str, dict[str, str]] = {}
        self.app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._describe),
                Route("/keys", self._keys),
                Route("/token", self._token, methods=["POST"]),
                Route("/userinfo", self._userinfo),
            ]
        )

    def approve(self, address: str) -> dict[str, str]:
        """What the person's browser does at the authorization page: say yes; the query to come back with."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        self.asked.append(query)
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        return {"code": code, "state": query["state"]}

    def _describe(self, _: Request) -> Response:
        if self.broken == "description":
            return Response("<html>", media_type="text/html")
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }
        if self.user_info is not None:
            found["userinfo_endpoint"] = f"{self.issuer}/userinfo"
        return JSONResponse(found | self.described)

    def _keys(self, _: Request) -> Response:
        return JSONResponse(KeySet([self._key]).as_dict(private=False))

    def _userinfo(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer access"
        return JSONResponse(self.user_info)

    async def _token(self, request: Request) -> Response:
        if self.broken == "token":
            return Response(status_code=500)
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        begun = self._codes.pop(form["code"], None)
        basic = b64decode(request.headers["authorization"].partition(" ")[2]).decode()
        challenge = _base64(sha256(form["code_verifier"].encode()).digest())
        right = (
            begun is not None
            and basic == f"{CLIENT_ID}:{CLIENT_SECRET}"
            and begun["code_challenge_method"] == "S256"
            and begun["code_challenge"] == challenge
            and begun["redirect_uri"] == form["redirect_uri"]
        )
        if not right or begun is None:
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse(
            {"access_token": "access", "token_type": "Bearer", "id_token": self._id_token(begun)}
        )

    def _id_token(self, begun: dict[str, str]) -> str:
        at = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": at,
            "exp": at + 300,
            "nonce": begun["nonce"],
            **self.person,
            **self.claims,
        }
        told = {name: value for name, value in claims.items() if value is not None}
        if self.algorithm == "none":
            parts = ({"alg": "none", "typ": "JWT"}, told)
            return (
                ".".join(urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts) + "."
            )
        if self.algorithm == "HS256":
            # Signed with the public key as if it were a secret, which everybody can do.
            parts = ({"alg": "HS256", "kid": "one", "typ": "JWT"}, told)
            text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
            return f"{text}.{_base64(hmac.digest(self._key.as_pem(private=False), text.encode(), 'sha256'))}"
        key = RSAKey.generate_key(2048, {"kid": "one"}) if self.foreign_key else self._key
        return jwt.encode({"alg": self.algorithm, "kid": "one"}, told, key)


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def query_of(answer: dict[str, str]) -> str:
    """The path that the provider sends the browser back to."""
    return f"/oidc/callback?{urlencode(answer)}"
