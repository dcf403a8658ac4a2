"""`python -m rsnb` is the command `rsnb`."""

from rsnb.cli import main

main()
