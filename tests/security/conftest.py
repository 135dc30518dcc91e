"""The whole application over a studio in which one person of each role has an account."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from fastapi import FastAPI

from app import create_app
from studio.core import Settings
from studio.studio import Studio, open_studio
from tests.pages.building import in_a_loop
from tests.unit.api.conftest import add_people, with_cheap_passwords


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    home = tmp_path_factory.mktemp("security") / "home"
    settings = Settings(_env_file=None, home=home, port=0, embedded_model=False, sample_data=False)
    opened = with_cheap_passwords(open_studio(settings))
    add_people(opened)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def app(studio: Studio) -> FastAPI:
    made: FastAPI = in_a_loop(partial(create_app, studio))
    return made
