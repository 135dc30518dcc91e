"""``python -m studio.serving.engine``: load a model, listen, and end when nobody needs it any more.

The port file appears when the model is loaded and the socket listens; so it says "ready". The process
ends on ``/shutdown``, when the process that started it is gone, and when nothing was asked for a while.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import threading
import time
from pathlib import Path

import uvicorn

from studio.core.files import write_text
from studio.serving.engine.adapters import AdapterBank
from studio.serving.engine.batch import Batch
from studio.serving.engine.loader import Base, load_base
from studio.serving.engine.scheduler import Scheduler
from studio.serving.engine.server import Engine

logger = logging.getLogger("engine")

_POLL_SECONDS = 0.25


def main() -> None:
    """Run one engine."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stdout)
    token = os.environ.pop("STUDIO_ENGINE_TOKEN")
    began = time.monotonic()
    base = load_base(options.model, options.dtype)
    logger.info(
        "%s loaded in %.1f s: %s on %s",
        options.model,
        time.monotonic() - began,
        base.model.dtype,
        base.model.device,
    )
    bank = AdapterBank(base.model)
    scheduler = Scheduler(
        Batch(base, bank),
        base.bytes_per_token(),
        most_rows=options.rows,
        most_waiting=options.waiting,
    )
    server = _server(base, bank, scheduler, token)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    _watch(server, scheduler, options.parent, options.idle_seconds)
    write_text(options.port_file, str(listener.getsockname()[1]))
    server.run(sockets=[listener])
    logger.info("ended")
    logging.shutdown()
    # The thread that decodes may be within a step; there is nothing to save, so nobody waits for it.
    os._exit(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m studio.serving.engine", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--port-file", type=Path, required=True, help="written when ready")
    parser.add_argument("--parent", type=int, required=True, help="end when this process is gone")
    parser.add_argument("--idle-seconds", type=float, default=600.0, help="end after this long without work")
    parser.add_argument("--dtype", choices=("auto", "bf16", "fp32"), default="auto")
    parser.add_argument("--rows", type=int, default=16, help="rows decoded together")
    parser.add_argument("--waiting", type=int, default=64, help="rows that may wait")
    return parser.parse_args()


def _server(base: Base, bank: AdapterBank, scheduler: Scheduler, token: str) -> uvicorn.Server:
    def shut_down() -> None:
        server.should_exit = True

    app = Engine(base, bank, scheduler, shut_down).app(token)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    return server


def _watch(server: uvicorn.Server, scheduler: Scheduler, parent: int, idle_seconds: float) -> None:
    """End the process when its parent is gone or nothing was asked for ``idle_seconds``."""

    def watch() -> None:
        while True:
            time.sleep(_POLL_SECONDS)
            if os.getppid() != parent:
                logger.info("the process that started this engine is gone")
                # Nobody reads the answers any more, so there is nothing to end gracefully.
                os._exit(0)
            if scheduler.idle_seconds > idle_seconds:
                logger.info("idle for %.0f s", idle_seconds)
                server.should_exit = True

    threading.Thread(target=watch, name="watch", daemon=True).start()


if __name__ == "__main__":
    main()
