"""The command: `python main.py`, `speech-enhancement`, `python -m speech_enhancement`."""

import signal
import sys
from typing import NoReturn


def run() -> NoReturn:
    """Run the command line of this process and end with its exit code."""
    # Before the program can answer them, signals end the process at once and in silence.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from speech_enhancement.cli.main import main

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main())


if __name__ == "__main__":
    run()
