"""Connects handlers to components: one way, so that every event is private, named and translated.

A handler is ``handler(studio, …) -> view`` and raises ``StudioError`` for what a person can mend. The
wiring gives it the studio, and turns such an error into a toast (escaped: toasts take HTML). Any
other exception is a bug; Gradio shows it as "Error" and the log has its trace.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup, escape

from pages.components.visible import when
from studio.core import StudioError
from studio.studio import Studio

Handler = Callable[..., Any]


def listen(
    event: Any,
    handler: Handler,
    studio: Studio,
    *,
    api_name: str,
    outputs: Any = None,
    inputs: Mapping[str, Any] | None = None,
    quiet: bool = False,
    **options: Any,
) -> Any:
    """Call ``handler(studio, …)`` on ``event``; returns Gradio's dependency, for ``.then``.

    Args:
        event: A component's event method, such as ``button.click``.
        handler: Gets the studio, then a ``gr.Request`` or ``gr.EventData`` if it asks for one by
            annotation, then ``inputs`` by keyword.
        studio: What the handler works on.
        api_name: The endpoint's name; unique in the application.
        outputs: A component or several, in the order of what the handler returns.
        inputs: Keyword of the handler to component.
        quiet: True shows no progress overlay: for events that repeat or come with a visit.
        options: Anything else that a Gradio event takes (``concurrency_id``, ``js``).
    """
    if quiet:
        # A second visit while the first is answered must not be dropped: the last one is what counts.
        options.setdefault("trigger_mode", "always_last")
    return event(
        bound(handler, studio),
        inputs_kwargs=dict(inputs) if inputs else None,
        outputs=outputs,
        api_name=api_name,
        api_visibility="private",
        show_progress="hidden" if quiet else "minimal",
        **options,
    )


def bound(handler: Handler, studio: Studio) -> Handler:
    """``handler`` with its first argument given and its errors translated.

    The result has the rest of the handler's signature, because Gradio finds ``gr.Request`` and
    ``gr.EventData`` parameters by it; a generator stays a generator.
    """
    if inspect.isgeneratorfunction(handler):

        def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with _Translated():
                yield from handler(studio, *args, **kwargs)

        return _without_first(stream, handler)

    def call(*args: Any, **kwargs: Any) -> Any:
        with _Translated():
            return handler(studio, *args, **kwargs)

    return _without_first(call, handler)


def toast(sentence: object) -> None:
    """A short confirmation in the corner; ``sentence`` may be ``Markup`` with a link."""
    gr.Info(str(escape(sentence)))


def shown(view: object, *, visible: bool = True) -> Any:
    """An update that gives a component a value and makes it visible or not."""
    return gr.update(value=view, visible=when(visible))


class _Translated:
    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, StudioError):
            raise gr.Error(str(_lines(error)), print_exception=False) from error


def _lines(error: StudioError) -> Markup:
    parts: Sequence[str] = str(error).splitlines()
    return Markup("<br>").join(parts)


def _without_first(call: Handler, handler: Handler) -> Handler:
    functools.update_wrapper(call, handler)
    signature = inspect.signature(handler)
    rest = list(signature.parameters.values())[1:]
    hints = typing.get_type_hints(handler)
    call.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: hints[p.name] for p in rest if p.name in hints}
    del call.__wrapped__  # type: ignore[attr-defined]
    return call
