"""Shows and hides parts of a page without taking them out of it.

Gradio mounts a component with ``visible=False`` only when it becomes visible, and what was sent to it
meanwhile is applied a moment later, over what came since: of two quick updates the older may win.
A hidden component is there from the start, so nothing is kept back.
"""

from __future__ import annotations

from typing import Final, Literal

#: Drawn, and not shown.
HIDDEN: Final = "hidden"


def when(shown: bool) -> Literal[True, "hidden"]:
    """The ``visible`` of a component that is shown only sometimes."""
    return True if shown else HIDDEN
