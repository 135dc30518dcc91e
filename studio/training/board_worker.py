"""TensorBoard for one person: ``python -m studio.training.board_worker <job directory>``.

It shows the runs that are linked in its folder, listens on the loopback interface only, and answers only
under a path that holds a secret: other people of this machine can reach the port and do not know the path.
It offers what curves need and no plugin that reads files or runs code of its own. It says its port in
``result.json`` and ends by itself when nobody has asked it anything for a while.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from studio.jobs import STOPPED_EXIT, JobContext

_LOOK_SECONDS = 0.5
_RELOAD_SECONDS = 3
#: Points of a curve that are kept exactly; TensorBoard draws a sample of longer ones.
MOST_POINTS = 20_000


class Watched:
    """A WSGI application that remembers when it was last asked for something."""

    def __init__(self, app: Callable[[Any, Any], Iterable[bytes]]) -> None:
        self._app = app
        self._asked = time.monotonic()

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Answer, and note the moment."""
        self._asked = time.monotonic()
        return self._app(environ, start_response)

    @property
    def idle_seconds(self) -> float:
        """For how long nobody has asked for anything."""
        return time.monotonic() - self._asked


def main(arguments: list[str]) -> int:
    """Serve until nobody asks any more or somebody asks to stop; returns the exit code."""
    context = JobContext(Path(arguments[0]))
    try:
        watched, port = _serve(context.payload)
    except Exception as error:
        traceback.print_exc()
        context.fail(error)
        return 1
    context.result({"port": port})
    context.progress("serving", 0, 0)
    while watched.idle_seconds < float(context.payload["idle_seconds"]):
        if context.stop_requested():
            return STOPPED_EXIT
        time.sleep(_LOOK_SECONDS)
    return 0


def _serve(payload: dict[str, Any]) -> tuple[Watched, int]:
    """Start TensorBoard in a thread; returns what it runs and its port."""
    from tensorboard import program
    from tensorboard.plugins.core import core_plugin
    from tensorboard.plugins.hparams import hparams_plugin
    from tensorboard.plugins.metrics import metrics_plugin
    from tensorboard.plugins.scalar import scalars_plugin

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    made: list[Any] = []

    def server(app: Any, flags: Any) -> Any:
        watched = Watched(app)
        made.extend((watched, program.WerkzeugServer(watched, flags)))
        return made[1]

    plugins = [
        core_plugin.CorePluginLoader(),
        metrics_plugin.MetricsPlugin,
        scalars_plugin.ScalarsPlugin,
        # Its page asks for this one whether it is there or not.
        hparams_plugin.HParamsPlugin,
    ]
    board = program.TensorBoard(plugins=plugins, server_class=server)
    board.configure(
        logdir=str(payload["folder"]),
        host="127.0.0.1",
        port=0,
        path_prefix=str(payload["prefix"]),
        load_fast="false",
        reload_interval=_RELOAD_SECONDS,
        samples_per_plugin={"scalars": MOST_POINTS},
    )
    board.launch()
    return made[0], made[1].server_port


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
