"""One error tree; each message says what happened, and ``todo`` says what to do next.

Services raise these and nothing else for what a caller can mend. They are translated once, at the
edge: the REST layer maps ``status`` to HTTP, the pages show ``str(error)``. Anything else that
escapes is a bug and is shown as one.
"""

from __future__ import annotations


class StudioError(Exception):
    """The root: a failure that a person can understand and act on.

    Args:
        message: What happened and why, as a sentence.
        todo: What to do about it, as a sentence; may be empty.
        details: Further findings, one a line (every bad field of a recipe, every bad row).
    """

    status = 500

    def __init__(self, message: str, todo: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.todo = todo
        self.details = details

    def __str__(self) -> str:
        head = f"{self.message} {self.todo}".strip()
        return "\n".join((head, *(f"- {line}" for line in self.details)))


class InvalidInput(StudioError):
    """What was given cannot be used; nothing was changed."""

    status = 422


class NotFound(StudioError):
    """No object has that id or name."""

    status = 404


class Conflict(StudioError):
    """The object is not in a state that allows this."""

    status = 409


class Forbidden(StudioError):
    """The actor's role does not allow this."""

    status = 403


class Unauthenticated(StudioError):
    """Nobody is logged in, or the name, password, session or token is not valid."""

    status = 401


class TooManyRequests(StudioError):
    """This was tried too often; ``retry_after`` says in how many seconds it may be tried again."""

    status = 429

    def __init__(
        self, message: str, todo: str = "", details: tuple[str, ...] = (), *, retry_after: float
    ) -> None:
        super().__init__(message, todo, details)
        self.retry_after = retry_after


class TooLarge(StudioError):
    """The input is over a stated limit."""

    status = 413


class Unavailable(StudioError):
    """Something this needs (a model server, a file, the network) does not answer now."""

    status = 503
