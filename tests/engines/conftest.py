"""Real runs by the other engines: ``make test-engines`` installs them and runs these; ``make test`` does not.

``STUDIO_TEST_ENGINES`` names the home whose ``engines/`` folder is used and kept; without it nothing here
is collected.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, Settings
from studio.jobs import JobState
from studio.samples import import_samples
from studio.studio import Studio, open_studio
from studio.training import Run, Stage, StartRun
from studio.training.engines.external import environments

ENGINES_HOME = os.environ.get("STUDIO_TEST_ENGINES", "")
collect_ignore_glob = [] if ENGINES_HOME else ["test_*.py"]
_INSTALL_SECONDS = 3600.0
_RUN_SECONDS = 900.0


@dataclass(frozen=True)
class Bench:
    """A studio with the embedded model and the samples, on which the engines are installed."""

    studio: Studio

    def start(self, stage: Stage, recipe: str) -> Run:
        """Start a run."""
        return self.studio.training.start(LOCAL_ADMIN, StartRun(stage, recipe))

    def get(self, run: Run) -> Run:
        """The run as it stands."""
        return self.studio.training.get(LOCAL_ADMIN, run.id)

    def log(self, run: Run) -> str:
        """The end of the run's log."""
        return self.studio.training.log(LOCAL_ADMIN, run.id, -30_000).text

    def until(self, run: Run, holds: Callable[[Run], bool]) -> Run:
        """Beat until something holds of the run."""
        deadline = time.monotonic() + _RUN_SECONDS
        while not holds(now := self.get(run)):
            assert time.monotonic() < deadline, self.log(run)
            assert not now.state.final, (now.state, now.reason, self.log(run)[-6000:])
            self.studio.tick()
            time.sleep(0.1)
        return now

    def done(self, run: Run) -> Run:
        """Beat until the run is over."""
        return self.until(run, lambda now: now.state.final)

    def curve(self, run: Run, name: str) -> dict[int, float]:
        """A metric's values by their steps."""
        points = self.studio.training.points(LOCAL_ADMIN, run.id)
        return {point[0]: point[1] for point in points.columns.get(name, ())}


def installed(name: str) -> Path:
    """The home on which the engine is installed; it is installed where it is not."""
    home = Path(ENGINES_HOME).resolve()
    if environments.find(home, name) is None:
        studio = open_studio(
            Settings(_env_file=None, home=home, port=0, embedded_model=False, sample_data=False)
        )
        job = studio.engines.install(LOCAL_ADMIN, name, os.environ.get("TORCH_INDEX", ""))
        done = studio.jobs.wait(LOCAL_ADMIN, job.id, _INSTALL_SECONDS)
        said = studio.jobs.log(LOCAL_ADMIN, job.id, -8000).text
        studio.close()
        assert done.state is JobState.SUCCEEDED, said
    return home


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    home = tmp_path_factory.mktemp("engines") / "home"
    studio = open_studio(Settings(_env_file=None, home=home, port=0))
    import_samples(studio.datasets)
    job = studio.registry.start_embedded(LOCAL_ADMIN)
    assert job is not None
    studio.settle((studio.jobs.wait(LOCAL_ADMIN, job.id, 300.0),))
    yield Bench(studio)
    studio.close()


def use(bench: Bench, name: str) -> environments.Environment:
    """Let the bench use an engine that is installed elsewhere."""
    engine = environments.known(name)
    there = engine.folder(bench.studio.settings.home)
    if not there.exists():
        there.parent.mkdir(exist_ok=True)
        there.symlink_to(engine.folder(installed(name)))
    found = environments.find(bench.studio.settings.home, name)
    assert found is not None
    return found
