"""A command line whose mistakes end in one sentence: what was received, what is allowed."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from pathlib import Path
from typing import NoReturn

from errors import UsageError

# What argparse says, and what it says here.
REWORDED = {
    r"argument (\S+): invalid choice: (.*) \(choose from (.*)\)": (
        r"`\1` must be one of \3. Received: \2"
    ),
    r"argument (\S+): invalid int value: (.*)": r"`\1` must be a whole number. Received: \2",
    r"argument (\S+): invalid float value: (.*)": r"`\1` must be a number. Received: \2",
    r"argument (\S+): ignored explicit argument (.*)": r"`\1` takes no value. Received: \2",
    r"argument (\S+): expected one argument": r"`\1` must be followed by a value",
    r"argument (\S+): expected at least one argument": r"`\1` must be followed by a value or more",
    r"argument (\S+): expected (\d+) arguments": r"`\1` must be followed by \2 values",
}


METAVARS: dict[object, str] = {int: "N", float: "X", Path: "PATH"}


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help with the defaults that say something, and with kinds of values in place of names."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        """The help of one option."""
        silent = action.default is None or action.default is False or action.default == []
        return action.help if silent else super()._get_help_string(action)

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        """What stands for the value of an option that does not say so itself."""
        return METAVARS.get(action.type, "VALUE")


class CommandLine(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` that raises `UsageError`, without a page of usage."""

    def parse(self, argv: list[str] | None = None) -> argparse.Namespace:
        """Parse options and `inputs` in any order; all that follows `--` are inputs.

        Args:
            argv: the arguments; those of the process by default.

        Raises:
            SystemExit: `--help` was asked for.
            UsageError: an option is unknown or has a value that is not allowed.
        """
        argv = sys.argv[1:] if argv is None else argv
        end = argv.index("--") if "--" in argv else len(argv)
        options = self.parse_intermixed_args(argv[:end])
        options.inputs = [*options.inputs, *argv[end + 1 :]]
        return options

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print.

        Raises:
            UsageError: always.
        """
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown:
            nearest = difflib.get_close_matches(unknown[1], self._option_string_actions)
            advice = f"did you mean {' or '.join(nearest)}?" if nearest else "see --help"
            if Path(unknown[1]).exists():
                advice = f"for the file, write ./{unknown[1]}"
            raise UsageError(f"No option is called `{unknown[1]}`: {advice}")
        message = message.replace("'", "")
        for pattern, sentence in REWORDED.items():
            message = re.sub(pattern, sentence, message)
        raise UsageError(message)
