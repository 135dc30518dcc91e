"""How long the server takes to answer a plot of many runs: ``python -m bench.curves``.

Fifty runs of 2,000 points lie on one plot. ``plots.update_ms`` is the median of the costliest update: every
run has a new line, and all of every curve is asked for again, as after a change of what is shown. The
usual update (only what is new) and 5 runs of 200,000 points are told beside it. The whole way is measured:
route, roles, database, file, thinning, JSON. What travels over the network and what the browser draws are
not in it; ``bench.plots`` sees a point on the screen.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient

from bench.report import Figure, report
from studio.api import create_api
from studio.core import LOCAL_ADMIN, Settings
from studio.datasets import NewVersion, SchemaKind, Split
from studio.registry import BaseSource
from studio.studio import Studio, open_studio
from studio.training import Stage, StartRun
from tests.tinymodel import build_tiny_model

_RUNS, _POINTS = 50, 2_000
_LONG_RUNS, _LONG_POINTS = 5, 200_000
_ROUNDS = 15
#: What the page asks for: the metrics that it draws, at so many points as it draws of each.
_NAMES = ("train/loss", "eval/loss", "train/learning_rate", "train/tokens_per_second")
_ALL_POINTS, _MOST_POINTS = 24_000, 1_600


def main() -> None:
    """Measure and print ``plots.update_ms``."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            _env_file=None, home=Path(folder) / "home", port=0, embedded_model=False, sample_data=False
        )
        studio = open_studio(settings)
        _furnish(studio, build_tiny_model(Path(folder) / "model"))
        with TestClient(create_api(studio), base_url="http://127.0.0.1:7860") as client:
            whole, news, size = _measure(client, studio, _runs(studio, _RUNS, _POINTS))
            long_whole, long_news, _ = _measure(client, studio, _runs(studio, _LONG_RUNS, _LONG_POINTS))
        studio.close()
    peer = (
        f"all of {_RUNS} runs x {_POINTS:,} points again, {size / 1e6:.1f} MB of JSON; only what is new "
        f"{news:.0f} ms; {_LONG_RUNS} runs x {_LONG_POINTS:,} points {long_whole:.0f} and {long_news:.0f} ms"
    )
    report(Figure("plots.update_ms", whole, "ms", "<= 100", peer))


def _furnish(studio: Studio, model: Path) -> None:
    studio.registry.register_base(LOCAL_ADMIN, BaseSource(str(model), "tiny"))
    rows = [{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}]
    split = {Split.TRAIN: rows, Split.VALIDATION: []}
    studio.datasets.create(
        LOCAL_ADMIN, NewVersion("rows", SchemaKind.INSTRUCTION, split, ({"step": "bench"},))
    )


def _runs(studio: Studio, number: int, points: int) -> list[str]:
    """Runs with the metrics of a training of so many steps; nothing trains, as nobody beats."""
    recipe = "model: tiny\ndataset: rows\n"
    ids = []
    for seed in range(number):
        run = studio.training.start(LOCAL_ADMIN, StartRun(Stage.SFT, recipe, f"Run {seed}"))
        path = studio.settings.home / "runs" / run.id / "metrics.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"epoch": 0}\n' + "".join(_lines(points, seed)))
        ids.append(run.id)
    return ids


def _lines(points: int, seed: int) -> list[str]:
    noise = np.random.default_rng(seed).normal(0, 0.1, points)
    lines = []
    for step in range(1, points + 1):
        loss = 1 + 2 / (1 + 8 * step / points) + float(noise[step - 1])
        lines.append(_line(step, loss, points))
        if step % (points // 20) == 0:
            lines.append(
                json.dumps({"step": step, "time": step / 4, "tokens": 512 * step, "eval/loss": loss}) + "\n"
            )
    return lines


def _line(step: int, loss: float, points: int) -> str:
    values = {
        "step": step,
        "time": step / 4,
        "tokens": 512 * step,
        "train/loss": loss,
        "train/grad_norm": loss / 2,
        "train/learning_rate": 2e-4 * (1 - step / points / 2),
        "train/epoch": step / points,
        "train/token_accuracy": 0.4 + step / points / 3,
        "train/tokens_per_second": 400 + loss,
    }
    return json.dumps(values) + "\n"


def _measure(client: TestClient, studio: Studio, ids: list[str]) -> tuple[float, float, int]:
    """Milliseconds of an answer with everything and of one with what is new, and the bytes of the former."""
    query = {"most": min(_MOST_POINTS, _ALL_POINTS // len(ids)), "series": list(_NAMES)}
    told = client.get("/runs/curves", params={**query, "run": ids}).json()["curves"]
    sizes = []

    def all_again() -> None:
        answer = client.get("/runs/curves", params={**query, "run": ids})
        sizes.append(len(answer.content))

    def only_new() -> None:
        nonlocal told
        asked = [f"{one['run_id']}:{one['cursor']}:{one['epoch']}" for one in told]
        told = client.get("/runs/curves", params={**query, "run": asked}).json()["curves"]

    whole, news = (_median(studio, ids, work) for work in (all_again, only_new))
    return whole, news, sizes[-1]


def _median(studio: Studio, ids: list[str], work: Callable[[], None]) -> float:
    spent = []
    for step in range(10**6, 10**6 + _ROUNDS):
        for run_id in ids:
            with (studio.settings.home / "runs" / run_id / "metrics.jsonl").open("a") as handle:
                handle.write(_line(step, 1.0, 10**6))
        began = time.perf_counter()
        work()
        spent.append(1000 * (time.perf_counter() - began))
    return statistics.median(spent)


if __name__ == "__main__":
    main()
