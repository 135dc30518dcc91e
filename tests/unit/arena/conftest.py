from __future__ import annotations

from pathlib import Path

import pytest

from studio.core import Database, Settings
from tests.unit.arena.world import World, build_world


@pytest.fixture
def world(database: Database, home: Path, settings: Settings) -> World:
    return build_world(database, home, settings)
