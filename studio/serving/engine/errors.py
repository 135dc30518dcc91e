"""What the engine refuses, and the HTTP status it says so with."""

from __future__ import annotations


class Refusal(Exception):
    """A request that cannot be served.

    Args:
        status: The HTTP status.
        code: A word for programs, such as ``context_length_exceeded``.
        message: What is wrong, as a sentence.
        todo: What to do about it, as a sentence.
    """

    def __init__(self, status: int, code: str, message: str, todo: str = "") -> None:
        super().__init__(f"{message} {todo}".strip())
        self.status = status
        self.code = code
        self.message = message
        self.todo = todo
