"""The REST face of the studio: one router a noun, the same services that the pages call.

This room translates: pydantic in, services called, views out, ``StudioError`` to HTTP. It holds no
rule of its own but one: ``guard`` decides which requests come from the studio's own pages.
"""

from studio.api.app import create_api
from studio.api.guard import Guard

__all__ = ["Guard", "create_api"]
