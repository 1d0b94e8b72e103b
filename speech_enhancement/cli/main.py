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
from speech_enhancement.errors import UserError, printable

MISSING = f"The Python package {{}} is missing: {places.install_command('train')}"


def main(argv: list[str] | None = None) -> int:
    """Run one mode and return the exit code of the process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names may have what a terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        options = args.parse(argv)
        run = registry.resolve(registry.MODES, "mode", options.mode)
        return run(options) or 0
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        print(f"error: {MISSING.format(error.name)}", file=sys.stderr)
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
