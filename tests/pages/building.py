"""Builds Gradio applications in a test without leaving an event loop open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


def in_a_loop(make: Callable[[], Any]) -> Any:
    """What ``make`` returns, called where a loop runs: elsewhere Gradio opens one and never closes it."""

    async def called() -> Any:
        return make()

    return asyncio.run(called())
