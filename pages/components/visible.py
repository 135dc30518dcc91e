"""Shows and hides parts of a page without taking them out of it.

Gradio mounts a component with ``visible=False`` only when it becomes visible, and what was sent to it
meanwhile is applied a moment later, over what came since: of two quick updates the older may win.
A hidden component is there from the start, so nothing is kept back.

For a column, row or accordion Gradio 6.31 does not hold that: it draws a hidden one as if it were
visible, and each update of its visibility overwrites that of everything inside. So these are shown and
hidden by a class of the style sheet; ``hide_at_first`` and ``by_class`` see to it for what pages write
as ``visible=``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, Literal

from gradio.blocks import BlockContext, Blocks

#: Drawn, and not shown.
HIDDEN: Final = "hidden"

_GONE: Final = "td-gone"


def when(shown: bool) -> Literal[True, "hidden"]:
    """The ``visible`` of a component that is shown only sometimes."""
    return True if shown else HIDDEN


def hide_at_first(blocks: Blocks) -> None:
    """Give the class to everything that holds others and is drawn with ``visible=HIDDEN``."""
    for one in blocks.blocks.values():
        if isinstance(one, BlockContext) and one.visible == HIDDEN:
            one.visible = True
            one.elem_classes = _classes(one, shown=False)


def by_class(outputs: Any, view: Any) -> Any:
    """What a handler returned, with the visibility of columns and their like turned into classes."""
    if not isinstance(outputs, Sequence):
        return _one(outputs, view)
    if len(outputs) == 1:
        return _one(outputs[0], view)
    if not isinstance(view, tuple | list):
        return view
    return tuple(_one(component, value) for component, value in zip(outputs, view, strict=True))


def switch(component: Any, *, shown: bool) -> str:
    """The script of an event without a handler that shows or hides a column."""
    update = json.dumps({"elem_classes": _classes(component, shown=shown), "__type__": "update"})
    return f"() => ({update})"


def _one(component: Any, value: Any) -> Any:
    if not (isinstance(component, BlockContext) and isinstance(value, dict) and "visible" in value):
        return value
    rest = {name: given for name, given in value.items() if name != "visible"}
    return rest | {"elem_classes": _classes(component, shown=value["visible"] is True)}


def _classes(component: Any, *, shown: bool) -> list[str]:
    own = [name for name in component.elem_classes if name != _GONE]
    return own if shown else [*own, _GONE]
