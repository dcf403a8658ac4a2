"""The command line. Each command imports what it needs when it runs, so that `rsnb info` answers at once."""

from __future__ import annotations

from rich.text import Text

from rsnb.cli import about, data, running  # noqa: F401  their commands join the application, in this order
from rsnb.cli.base import app, err
from rsnb.errors import InputError


def main() -> None:
    """Entry point: bad input is one paragraph on stderr and exit code 2, never a traceback."""
    try:
        app()
    except InputError as error:
        _refuse(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "rsnb":
            raise
        _refuse(f"the package {error.name!r} is not installed. Install the notebooks' set: "
                "pip install 'rsnb[notebooks]'.")
    except OSError as error:
        if error.filename is None:
            raise
        _refuse(f"{error.filename}: {error.strerror or error}. Check that the place exists and can be written.")


def _refuse(message: str) -> None:
    err.print(Text("rsnb:", "bold red"), message, soft_wrap=True)
    raise SystemExit(2) from None
