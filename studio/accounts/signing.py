"""The studio's own secret, and what is signed with it.

``secret.key`` in the home holds 32 random bytes that only the owner of the process may read. Whoever can
read it can sign a cookie, but not make one that the database knows. Without it every session ends.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from itsdangerous import BadSignature, Signer

from studio.core import InvalidInput

KEY_FILE = "secret.key"
_KEY_BYTES = 32


class Seal:
    """Signs session secrets for the way through the browser, and makes marks of what is not to be kept.

    Raises:
        InvalidInput: ``secret.key`` is there and not 32 bytes.
    """

    def __init__(self, home: Path) -> None:
        self._key = _key(home / KEY_FILE)
        self._signer = Signer(
            self._key, salt=b"tandem.session", key_derivation="hmac", digest_method=hashlib.sha256
        )

    def sign(self, secret: str) -> str:
        """The cookie value for a session's secret."""
        return self._signer.sign(secret).decode("ascii")

    def open(self, cookie: str) -> str | None:
        """The secret inside a cookie value, or None if it was not signed here."""
        try:
            return self._signer.unsign(cookie.encode("ascii")).decode("ascii")
        except (BadSignature, UnicodeError):
            return None

    def mark(self, kind: str, text: str) -> str:
        """A keyed digest that stands for ``text``, which may be a password typed into the wrong field."""
        content = f"{kind}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()


def digest(secret: str) -> str:
    """What is kept of a secret of 256 random bits; slow hashing would add nothing."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(path: Path) -> bytes:
    if not path.exists():
        _make(path)
    path.chmod(0o600)  # a restored backup may have come with another mode
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise InvalidInput(
            f"{path} is damaged: it has {len(key)} bytes and not {_KEY_BYTES}.",
            "Delete it and start again; everyone then logs in anew.",
        )
    return key


def _make(path: Path) -> None:
    """Make the key under another name and link it, so that a second process never reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(secrets.token_bytes(_KEY_BYTES))
            handle.flush()
            os.fsync(handle.fileno())
        path.hardlink_to(draft)
    except FileExistsError:
        pass  # another process was first: its key counts
    finally:
        draft.unlink()
