"""Connects handlers to components: one way, so that every event is private, named, checked and translated.

A handler is ``handler(studio, …) -> view`` and raises ``StudioError`` for what a person can mend. The
wiring finds out who sent the event, refuses a role that ``pages.roles`` does not name for it, gives the
handler the studio of that person (``studio.actor``), and turns an error into a toast (escaped: toasts take
HTML). Any other exception is a bug; Gradio shows it as "Error" and the log has its trace.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import gradio as gr
from markupsafe import Markup, escape

from pages.components.visible import by_class, when
from pages.roles import allowed
from studio.core import Role, StudioError, Unauthenticated, require
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
        api_name: The endpoint's name; unique in the application, and declared in ``pages.roles``.
        outputs: A component or several, in the order of what the handler returns.
        inputs: Keyword of the handler to component.
        quiet: True shows no progress overlay: for events that repeat or come with a visit.
        options: Anything else that a Gradio event takes (``concurrency_id``, ``js``).

    Raises:
        LookupError: ``pages.roles`` does not say who may call it.
    """
    if quiet:
        # A second visit while the first is answered must not be dropped: the last one is what counts.
        options.setdefault("trigger_mode", "always_last")
    return event(
        bound(handler, studio, allowed(api_name), outputs),
        inputs_kwargs=dict(inputs) if inputs else None,
        outputs=outputs,
        api_name=api_name,
        api_visibility="private",
        show_progress="hidden" if quiet else "minimal",
        **options,
    )


def bound(handler: Handler, studio: Studio, roles: Sequence[Role] = (), outputs: Any = None) -> Handler:
    """``handler`` with its first argument given, for whoever sent the event, and its errors translated.

    The result has the rest of the handler's signature, because Gradio finds ``gr.Request`` and
    ``gr.EventData`` parameters by it, and a ``gr.Request`` of its own where the handler takes none; a
    generator stays a generator. ``roles`` may call it, and admins. ``outputs`` are what it fills.
    """
    own_request = gr.Request in typing.get_type_hints(handler).values()

    def opened(args: tuple[Any, ...]) -> tuple[Any, ...]:
        request = next((one for one in args if isinstance(one, gr.Request)), None)
        theirs = studio_of(studio, request)
        require(theirs.actor, *roles)
        return (theirs, *(one for one in args if own_request or one is not request))

    if inspect.isgeneratorfunction(handler):

        def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
            # Closed at once where the browser has left: a turn of two models ends with it.
            with _Translated(), closing(handler(*opened(args), **kwargs)) as views:
                for view in views:
                    yield by_class(outputs, view)

        return _as_gradio_sees_it(stream, handler, own_request, roles)

    def call(*args: Any, **kwargs: Any) -> Any:
        with _Translated():
            return by_class(outputs, handler(*opened(args), **kwargs))

    return _as_gradio_sees_it(call, handler, own_request, roles)


def studio_of(studio: Studio, request: gr.Request | None) -> Studio:
    """``studio`` bound to the person who sent ``request``; as it is while there are no accounts.

    The name comes from the mount's ``auth_dependency``, which asks again for each request, and the role
    from the account, so a change of either holds from the next event on.

    Raises:
        Unauthenticated: There are accounts, and nobody who is logged in sent it.
    """
    if not has_accounts(studio):
        return studio
    name = request.username if request is not None else None
    actor = studio.accounts.actor(name) if name else None
    if actor is None:
        raise Unauthenticated("You are not logged in any more.", "Load the page again and log in.")
    return studio.acting(actor)


def has_accounts(studio: Studio) -> bool:
    """Whether people log in at all; without accounts whoever is at this machine may do everything."""
    return studio.accounts.exist()


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


def _as_gradio_sees_it(call: Handler, handler: Handler, own_request: bool, roles: Sequence[Role]) -> Handler:
    functools.update_wrapper(call, handler)
    signature = inspect.signature(handler)
    rest = list(signature.parameters.values())[1:]
    hints = {p.name: hint for p in rest if (hint := typing.get_type_hints(handler).get(p.name))}
    if not own_request:
        asking = inspect.Parameter("_asking", inspect.Parameter.POSITIONAL_ONLY)
        rest, hints = [asking, *rest], {"_asking": gr.Request, **hints}
    call.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
    call.__annotations__ = hints
    call.roles = roles  # type: ignore[attr-defined]
    del call.__wrapped__  # type: ignore[attr-defined]
    return call
