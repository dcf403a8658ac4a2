"""Passwords and tokens that no printout, log line, pickle or notebook output shows."""

from __future__ import annotations

import os
from collections.abc import Callable


class Secret:
    """A text that only `reveal()` gives away. Equality works, so does truth; printing and pickling do not show it."""

    __slots__ = ("_text",)

    def __init__(self, text: str):
        self._text = text

    def reveal(self) -> str:
        """The text itself. Call it where it is sent, and keep no copy."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(****)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self):
        raise TypeError("a secret is not written anywhere: read it again from the environment or the keyring")


def stored_secret(variable: str, service: str, user: str) -> Secret | None:
    """A secret from the environment, or else from the system's keyring; None where neither has it.

    Args:
        variable: of the environment.
        service, user: under which the keyring holds it.
    """
    value = os.environ.get(variable)
    if value:
        return Secret(value)
    return _from_keyring(lambda keyring: keyring.get_password(service, user))


def stored_user(variable: str, service: str) -> str | None:
    """A user name from the environment, or else the one whose password the keyring holds for a service."""
    value = os.environ.get(variable)
    if value:
        return value
    found = _from_keyring(lambda keyring: getattr(keyring.get_credential(service, None), "username", None))
    return found.reveal() if found else None


def _from_keyring(ask: Callable) -> Secret | None:
    try:
        import keyring

        value = ask(keyring)
    except Exception:  # no keyring, none that works without a desktop, a locked one: all mean that it holds nothing
        return None
    return Secret(value) if value else None
