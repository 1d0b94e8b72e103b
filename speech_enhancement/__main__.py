"""The command: `python main.py`, `speech-enhancement`, `python -m speech_enhancement`."""

import sys


def run() -> None:
    """Run the command line of this process and end with its exit code."""
    # Before the program can answer it, Ctrl-C ends the process in silence; see `main.py`.
    from _signal import SIG_DFL, SIGINT, signal

    signal(SIGINT, SIG_DFL)
    from speech_enhancement.cli import process
    from speech_enhancement.cli.main import main

    process.open_streams()
    with process.answering_stops():
        code = main()
    sys.exit(code)


if __name__ == "__main__":
    run()
