"""Entry of the command: signals end it as they should from the first moment, while its modules are loaded too."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sim.cli.signals import end_on_signals, ignore_signals


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    end_on_signals()
    try:
        from sim.cli.main import main as run_command_line

        run_command_line(arguments)
    except (KeyboardInterrupt, Exception) as error:
        from sim.cli.messages import end_code

        sys.exit(end_code(error))
    finally:
        ignore_signals()
