"""Every test has a studio home of its own, and no network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from studio.core import Database, Settings
from tests.tinymodel import build_tiny_model


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(_env_file=None, home=home, port=0, embedded_model=False, sample_data=False)


@pytest.fixture
def database(settings: Settings) -> Database:
    base = Database(settings.database_path)
    yield base
    base.close()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of about 100 thousand parameters with a ChatML template; built in seconds."""
    return build_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def openapi_routes(settings: Settings) -> set[str]:
    """Every route of the REST interface as ``GET /path``."""
    from studio.api import create_api
    from studio.studio import open_studio

    studio = open_studio(settings)
    paths = create_api(studio).openapi()["paths"]
    studio.close()
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
