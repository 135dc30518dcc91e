"""The front door: settings, studio, web application, server.

``python app.py`` listens on 127.0.0.1:7860 unless STUDIO_HOST and STUDIO_PORT say otherwise.
"""

from __future__ import annotations

import os
import socket
import sys

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from pages.app import build
from pages.theme import MOUNT
from studio.api import create_api
from studio.core import Settings, StudioError, Unavailable
from studio.studio import Studio, open_studio

STUDIO_PATH = "/studio"
# Long enough for a request to end, short enough that an open event stream does not hold up Ctrl+C.
_SHUTDOWN_SECONDS = 3


def create_app(studio: Studio) -> FastAPI:
    """REST and pages as one ASGI application; ``/`` leads to the pages."""
    app = create_api(studio)
    app.add_api_route(
        "/",
        lambda: RedirectResponse(f"{STUDIO_PATH}/"),
        include_in_schema=False,
        response_class=RedirectResponse,
    )
    blocks = build(studio)
    # Gradio checks which files it may serve only where this is set, and only launch() sets it.
    blocks.has_launched = True
    largest = f"{studio.settings.max_upload_mb}mb"
    mounted: FastAPI = gr.mount_gradio_app(app, blocks, path=STUDIO_PATH, max_file_size=largest, **MOUNT)
    return mounted


def main() -> int:
    """Serve until interrupted; the exit code is 2 where the settings cannot be used."""
    try:
        settings = Settings.load()
        settings.require_loopback()
        listener = _listen(settings)
    except StudioError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    # Uploads then lie where imports may read them, and on the disk that was chosen for data.
    os.environ["GRADIO_TEMP_DIR"] = str(settings.home / "uploads")
    studio = open_studio(settings)
    studio.start()
    try:
        sys.stdout.write(f"Tandem is at http://{settings.host}:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        config = uvicorn.Config(
            create_app(studio), log_level="warning", timeout_graceful_shutdown=_SHUTDOWN_SECONDS
        )
        uvicorn.Server(config).run([listener])
    except KeyboardInterrupt:
        pass
    finally:
        studio.close()
    return 0


def _listen(settings: Settings) -> socket.socket:
    """The bound socket: a port that is taken is said before anything starts."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host.strip("[]"), settings.port), family=family)
    except OSError as error:
        raise Unavailable(
            f"Port {settings.port} of {settings.host} cannot be used: {error.strerror}.",
            "End what listens there, or set STUDIO_PORT to another port (0 takes a free one).",
        ) from None


if __name__ == "__main__":
    sys.exit(main())
