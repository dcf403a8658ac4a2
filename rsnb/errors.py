"""The one exception that tells a user what was wrong with an input, where, and how to mend it."""

from __future__ import annotations

from functools import partial
from pathlib import Path


class InputError(ValueError):
    """Bad input from outside: a file, a parameter, a point that a user picked.

    The message is one paragraph: where (file, line, key), what is wrong, what to do. Command line and notebooks
    print it without a traceback.

    Args:
        what: what is wrong, as a sentence without the final full stop.
        where: the file, parameter or function argument concerned.
        line: line number in that file, from 1.
        mend: what the user can do about it, as a sentence without the final full stop.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, line: int | None = None, mend: str | None = None):
        self.what, self.where, self.line, self.mend = what, where, line, mend
        place = "" if where is None else f"{where}" + ("" if line is None else f", line {line}") + ": "
        super().__init__(f"{place}{what}." + (f" {mend}." if mend else ""))

    def __reduce__(self):
        # by default an exception is rebuilt from its message alone; from a worker process it must come back as it was
        return partial(type(self), where=self.where, line=self.line, mend=self.mend), (self.what,)
