"""The front door: settings, studio, web application, server.

``python app.py`` listens on 127.0.0.1:7860 unless STUDIO_HOST and STUDIO_PORT say otherwise.
"""

from __future__ import annotations

import sys

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from pages.app import build
from pages.theme import MOUNT
from studio.api import create_api
from studio.core import Settings, StudioError
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
    settings = Settings()
    try:
        settings.require_loopback()
    except StudioError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    studio = open_studio(settings)
    studio.start()
    try:
        sys.stdout.write(f"Tandem is at http://{settings.host}:{settings.port}\n")
        uvicorn.run(
            create_app(studio),
            host=settings.host,
            port=settings.port,
            log_level="warning",
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
    finally:
        studio.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
