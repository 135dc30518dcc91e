"""The front door: settings, studio, web application, server.

``python app.py`` listens on 127.0.0.1:7860 unless STUDIO_HOST and STUDIO_PORT say otherwise.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys

import gradio as gr
import uvicorn
from fastapi import FastAPI

from pages.app import build
from pages.doors import DOORS
from pages.theme import MOUNT
from studio.api import create_api, name_at
from studio.core import InvalidInput, Settings, StudioError, Unavailable
from studio.studio import Studio, open_studio

# Long enough for a request to end, short enough that an open event stream does not hold up Ctrl+C.
_SHUTDOWN_SECONDS = 3


def create_app(studio: Studio) -> FastAPI:
    """REST and the three doors as one ASGI application; ``/`` leads everyone to theirs."""
    app = create_api(studio)
    largest = f"{studio.settings.max_upload_mb}mb"
    for door in DOORS:
        blocks = build(studio, door)
        # Gradio checks which files it may serve only where this is set, and only launch() sets it.
        blocks.has_launched = True
        gr.mount_gradio_app(
            app,
            blocks,
            path=door.path,
            auth_dependency=name_at(door.path.strip("/")),
            max_file_size=largest,
            **MOUNT,
        )
    return app


def main() -> int:
    """Serve until interrupted; the exit code is 2 where the settings cannot be used."""
    try:
        settings = Settings.load()
        _check_tls(settings)
    except StudioError as error:
        return _refused(error)
    # Uploads then lie where imports may read them, and on the disk that was chosen for data.
    os.environ["GRADIO_TEMP_DIR"] = str(settings.home / "uploads")
    studio = open_studio(settings)
    try:
        settings.require_loopback(studio.accounts.exist())
        with _listen(settings) as listener:
            studio.start()
            _serve(studio, listener)
    except StudioError as error:
        return _refused(error)
    except KeyboardInterrupt:
        pass
    finally:
        studio.close()
    return 0


def _serve(studio: Studio, listener: socket.socket) -> None:
    settings = studio.settings
    config = uvicorn.Config(
        create_app(studio),
        log_level="warning",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        server_header=False,
        # Only behind a proxy of one's own is anybody to be believed about where a request came from.
        proxy_headers=bool(settings.public_url),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    scheme = "https" if settings.tls_cert else "http"
    sys.stdout.write(f"Tandem is at {scheme}://{settings.host}:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(config).run([listener])


def _check_tls(settings: Settings) -> None:
    if settings.tls_cert is None or settings.tls_key is None:
        return
    try:
        # An empty password, so that a key that needs one is an error and not a question on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            settings.tls_cert, settings.tls_key, lambda: ""
        )
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(
            f"The TLS certificate or its key cannot be used: {error}.",
            "STUDIO_TLS_CERT and STUDIO_TLS_KEY name PEM files of one pair, the key without a password.",
        ) from None


def _refused(error: StudioError) -> int:
    sys.stderr.write(f"{error}\n")
    return 2


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
