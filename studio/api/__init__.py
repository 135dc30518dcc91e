"""The REST face of the studio: one router a noun, the same services that the pages call.

This room translates: pydantic in, services called, views out, ``StudioError`` to HTTP. Before it stand
``guard`` (which requests may come in at all), ``doors`` (who asks, and which path is theirs) and
``headers`` (what every answer tells the browser); ``login`` and ``oidc`` are how people come in.
"""

from studio.api.app import create_api
from studio.api.doors import COOKIE, name_at
from studio.api.guard import Guard

__all__ = ["COOKIE", "Guard", "create_api", "name_at"]
