"""The `hearth` command: `python -m hearth`, and what an installed one calls."""

import sys


def run() -> int:
    """As cli.main(), whose own modules may be interrupted while they are read, too."""
    try:
        from .cli import main

        return main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(run())
