"""Remove noise from speech, and train the networks that do it.

python main.py                      denoise the recordings of demo_data/
python main.py my.wav folder/       denoise recordings
python main.py --help               list the modes
python main.py --mode MODE --help   list the options of a mode
"""

import io
import os
import sys

from speech_enhancement import places, registry
from speech_enhancement.cli import args
from speech_enhancement.errors import UsageError, UserError, printable

BACKENDS = ("tensorflow", "jax", "torch")


def main(argv: list[str] | None = None) -> int:
    """Run one mode and return the exit code of the process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names may have what a terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        options = args.parse(argv)
        check_backend(os.environ.get("KERAS_BACKEND"))
        run = registry.resolve(registry.MODES, "mode", options.mode)
        return run(options) or 0
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        print(f"error: {missing(str(error.name))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: stopped by the user", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # What is left for a reader that has gone would fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {printable(f'{place}{error.strerror or error}')}", file=sys.stderr)
        return 1


def check_backend(backend: str | None) -> None:
    """Refuse what Keras would not know, which it says in a traceback.

    Args:
        backend: value of KERAS_BACKEND, if it is set.

    Raises:
        UsageError: it is none.
    """
    if backend and backend not in BACKENDS:
        raise UsageError(
            f"`KERAS_BACKEND` must be one of {', '.join(BACKENDS)}. Received: {backend}"
        )


def missing(package: str) -> str:
    """The sentence about a package that is not installed."""
    commands = {"jax": places.install_command("jax"), "torch": "pip install torch"}
    command = commands.get(package, places.install_command("train"))
    return f"The Python package {package} is missing: {command}"
