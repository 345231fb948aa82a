"""Entry point of `dlkit` and of `python -m dlkit`."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from dlkit.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before `run` could take care of it: nothing has begun
        code = 128 + signal.SIGINT
    sys.exit(code)


if __name__ == "__main__":
    main()
