"""Options declared once, with the values that they allow, and the command line made of them.

An `Option` belongs to a `Group`, and a `Mode` lists the groups that it has. The parser of a mode
knows the options of that mode only. It refuses those of other modes, those that have no effect in
the combination given, and values that are not allowed, each in one sentence.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import difflib
import itertools
import math
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from speech_enhancement import places
from speech_enhancement.errors import UsageError

COLUMN = 30  # where the help of an option begins

# What argparse says, and what it says here.
REWORDED = {
    r"argument ([^\s/]+)\S*: ignored explicit argument ['\"](.*)['\"]": (
        r"`\1` takes no value. Received: \2"
    ),
    r"argument ([^\s/]+)\S*: expected one argument": r"`\1` must be followed by a value",
    r"argument ([^\s/]+)\S*: expected at least one argument": (
        r"`\1` must be followed by one or more values"
    ),
    r"argument ([^\s/]+)\S*: expected (\d+) arguments": r"`\1` must be followed by \2 values",
    r"argument ([^\s/]+)\S*: (must be .*)": r"`\1` \2",
}


@dataclasses.dataclass(frozen=True)
class Kind:
    """The values that an option may have.

    Args:
        read: makes the value of a text, or raises a `ValueError` that says what is allowed.
        metavar: what stands for the value in the help.
        limits: which values are allowed, for the help.
    """

    read: Callable[[str], Any]
    metavar: str
    limits: str = ""

    def __call__(self, text: str) -> Any:
        """The value that a text stands for.

        Raises:
            ArgumentTypeError: the text is not allowed.
        """
        try:
            return self.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"must be {error}. Received: {text}") from None


TEXT = Kind(str, "TEXT")
PATH = Kind(Path, "PATH")
SWITCH = Kind(str, "")  # an option without a value, `--NAME` or `--no-NAME`


def whole(least: int | None = None, most: int | None = None) -> Kind:
    """Whole numbers within limits."""
    return _numbers("a whole number", int, "N", _limits(least, most))


def number(
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Kind:
    """Finite numbers within limits, of which `least` and `most` are included."""
    return _numbers("a number", float, "X", _limits(least, most, above, below))


Limits = dict[str, tuple[float, Callable[[float, float], bool]]]


def _limits(
    least: float | None, most: float | None, above: float | None = None, below: float | None = None
) -> Limits:
    """Limits by the words for them, each with the comparison that holds."""
    limits: dict[str, tuple[float | None, Callable[[float, float], bool]]] = {
        "at least": (least, lambda value, limit: value >= limit),
        "above": (above, lambda value, limit: value > limit),
        "at most": (most, lambda value, limit: value <= limit),
        "below": (below, lambda value, limit: value < limit),
    }
    return {word: (limit, holds) for word, (limit, holds) in limits.items() if limit is not None}


def _numbers(what: str, kind: Callable[[str], float], metavar: str, limits: Limits) -> Kind:
    """Numbers within limits."""
    words = " and ".join(f"{word} {limit:.9g}" for word, (limit, _) in limits.items())
    if list(limits) == ["at least", "at most"]:
        words = "from {:.9g} to {:.9g}".format(*(limit for limit, _ in limits.values()))

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if math.isfinite(value) and all(holds(value, limit) for limit, holds in limits.values()):
            return value
        raise ValueError(f"{what} {'of ' if words.startswith('at') else ''}{words}".strip())

    return Kind(read, metavar, words)


def choice(names: Collection[str], read: Callable[[str], Any] = str) -> Kind:
    """One of some names; the value is what `read` makes of the name."""
    return Kind(lambda text: read(_known(text, names)), "NAME", f"one of {', '.join(names)}")


class Names(list[str]):
    """The names in one value of an option; those of all its values are joined."""


def names(known: Collection[str] = ()) -> Kind:
    """One or several names, each of which must be known if `known` is given.

    An option of such values takes them as separate arguments. Names that are separated by commas
    are understood as well.
    """
    limits = f"of {', '.join(known)}" if known else ""
    return Kind(
        lambda text: Names(
            _known(name, known) if known else name for name in text.split(",") if name
        ),
        "NAME",
        limits,
    )


def _known(name: str, names: Collection[str]) -> str:
    """A name that is in a table, which may have grown since the option was declared."""
    if name not in names:
        raise ValueError(f"one of {', '.join(names)}")
    return name


@dataclasses.dataclass(frozen=True)
class Condition:
    """A condition for an option to have an effect: the value of another option of the mode.

    Args:
        option: the name of the other option, or `inputs`.
        holds: whether its value is one of those.
        words: the same in words, after "only has an effect".
    """

    option: str
    holds: Callable[[Any], bool]
    words: str


def where(option: str, *values: str) -> Condition:
    """The condition that another option has one of some values."""
    return Condition(option, lambda v: v in values, f"with --{option} {' or '.join(values)}")


def given(option: str) -> Condition:
    """The condition that another option is given, and is not 0."""
    return Condition(option, bool, f"with --{option}")


def not_given(option: str) -> Condition:
    """The condition that another option, which has no default, is not given."""
    return Condition(option, lambda v: v is None, f"without --{option}")


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of one or several modes.

    Args:
        name: its name, without dashes.
        kind: what its value may be; `SWITCH` if it has none.
        default: its value where it is not given.
        help: what it does, with the unit.
        count: number of values; `+` for one or more, nothing for a single one.
        metavar: what stands for its values in the help, if not that of its kind.
        only: conditions in all of which it has an effect.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    _: dataclasses.KW_ONLY
    count: int | str | None = None
    metavar: str | tuple[str, ...] | None = None
    only: tuple[Condition, ...] = ()

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Declare it to argparse, which is to leave it out of its result where it is not given."""
        shown: dict[str, Any] = {
            "help": self.description.replace("%", "%%"),
            "default": argparse.SUPPRESS,
        }
        if self.kind is SWITCH:
            parser.add_argument(f"--{self.name}", action=argparse.BooleanOptionalAction, **shown)
            return
        metavar = self.metavar or self.kind.metavar
        parser.add_argument(
            f"--{self.name}",
            type=self.kind,
            nargs=self.count,
            metavar=metavar,
            action=_StoreJoined,
            **shown,
        )

    @property
    def description(self) -> str:
        """The help of the option, with its limits and its default."""
        default = self.default
        if isinstance(default, (list, tuple)):
            default = " ".join(map(_shown, default))
        silent = default in (None, "") or (self.kind is SWITCH and not default)
        facts = [
            self.kind.limits,
            "" if silent else f"default: {'yes' if default is True else _shown(default)}",
        ]
        text = "; ".join(filter(None, facts))
        return f"{self.help} ({text})" if text else self.help


@dataclasses.dataclass(frozen=True)
class Group:
    """Options that belong together; groups of the same title are one in the help.

    Args:
        title: what the help calls them.
        options: the options.
        only: conditions in all of which each of them has an effect.
    """

    title: str
    options: tuple[Option, ...]
    only: tuple[Condition, ...] = ()


@dataclasses.dataclass(frozen=True)
class Mode:
    """What one mode is called with.

    Args:
        summary: what the mode does.
        groups: the options that it has.
        inputs: what its arguments without a name are; it has none by default.
    """

    summary: str
    groups: tuple[Group, ...] = ()
    inputs: str = ""

    @property
    def options(self) -> dict[str, Option]:
        """The options of the mode by name."""
        return {option.name: option for group in self.groups for option in group.options}

    def has(self, name: str) -> bool:
        """Whether the mode has an option, or `inputs`."""
        return bool(self.inputs) if name == "inputs" else name in self.options

    def conditions(self, name: str) -> list[Condition]:
        """The conditions of an option that are about other options of this mode."""
        return [
            condition
            for group in self.groups
            for option in group.options
            if option.name == name
            for condition in (*group.only, *option.only)
            if self.has(condition.option)
        ]


class CommandLine:
    """The command line of several modes.

    Args:
        description: what the program does.
        modes: what each mode is called with.
        default: the mode where none is named.
    """

    def __init__(self, description: str, modes: Mapping[str, Mode], default: str) -> None:
        self.description = description
        self.modes = modes
        self.default = default

    def parse(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse options and inputs in any order; all that follows `--` are inputs.

        Args:
            argv: the arguments; those of the process by default.

        Returns:
            The name of the `mode`, its options, and its `inputs` if it takes any.

        Raises:
            SystemExit: `--help` was asked for.
            UsageError: an option is not one of the mode, has a value that is not allowed, or has
                no effect.
        """
        argv = list(sys.argv[1:] if argv is None else argv)
        end = argv.index("--") if "--" in argv else len(argv)
        named, argv_of_mode = self._mode_parser().parse_known_args(argv[:end])
        name = named.mode or self.default
        if named.help:
            print(self.help_of(name) if named.mode else self.help(), end="")
            raise SystemExit(0)
        found, rest = self._parser(name).parse_known_args(argv_of_mode)
        inputs = [*self._inputs(name, rest), *argv[end + 1 :]]
        return self._completed(name, vars(found), inputs)

    def help(self) -> str:
        """The page that lists the modes, and the options that most of them have."""
        parser = _Parser(usage=f"{places.COMMAND} [--mode MODE] [OPTION ...] [INPUT ...]")
        parser.description = self.description
        parser.epilog = f"`{places.COMMAND} --mode MODE --help` lists the options of a mode."
        modes = parser.add_argument_group("modes")
        for name, mode in self.modes.items():
            default = " (default)" if name == self.default else ""
            modes.add_argument(name, metavar=name, help=f"{mode.summary}{default}")
        common = parser.add_argument_group("options that most modes have")
        common.add_argument("--mode", metavar="MODE", help="what to do, one of the above")
        common.add_argument("--help", action="store_true", help="show this page and exit")
        options: dict[str, Option] = {}
        for mode in (self.modes[self.default], *self.modes.values()):
            options = mode.options | options
        for option in options.values():
            if 2 * len(self.modes_of(option.name)) > len(self.modes):
                option.add_to(common)
        return parser.format_help()

    def help_of(self, name: str) -> str:
        """The page of one mode."""
        parser = self._parser(name)
        if self.modes[name].inputs:
            inputs = parser.add_argument_group("inputs")
            inputs.add_argument("INPUT", nargs="*", help=self.modes[name].inputs)
        return parser.format_help()

    def modes_of(self, option: str) -> list[str]:
        """The modes that have an option."""
        return [name for name, mode in self.modes.items() if option in mode.options]

    def _mode_parser(self) -> _Parser:
        """A parser of what is known before the mode is."""
        parser = _Parser()
        parser.add_argument("--mode", type=choice(self.modes))
        parser.add_argument("-h", "--help", action="store_true")
        return parser

    def _parser(self, name: str) -> _Parser:
        """The parser of one mode's options."""
        mode = self.modes[name]
        inputs = " [INPUT ...]" if mode.inputs else ""
        parser = _Parser(usage=f"{places.COMMAND} --mode {name} [OPTION ...]{inputs}")
        parser.description = f"{mode.summary[0].upper()}{mode.summary[1:]}."
        sections: dict[str, argparse._ArgumentGroup] = {}
        for group in mode.groups:
            if group.title not in sections:
                effect = _effect(c for c in group.only if mode.has(c.option))
                note = f"These options only have an effect {effect}." if effect else None
                sections[group.title] = parser.add_argument_group(group.title, note)
            for option in group.options:
                effect = _effect(c for c in option.only if mode.has(c.option))
                text = f"{option.help}; only {effect}" if effect else option.help
                dataclasses.replace(option, help=text).add_to(sections[group.title])
        return parser

    def _inputs(self, name: str, rest: Sequence[str]) -> list[str]:
        """The inputs among the arguments that the parser of a mode has left over.

        Raises:
            UsageError: an option is among them.
        """
        for argument in rest:
            if argument.startswith("-") and argument != "-":
                raise UsageError(self._refusal(name, argument.partition("=")[0]))
        return list(rest)

    def _refusal(self, mode: str, option: str) -> str:
        """Why a mode does not take an option."""
        others = self.modes_of(option.removeprefix("--no-").removeprefix("--"))
        if others:
            names = _enumeration([f"--mode {other}" for other in others], "and")
            return f"`{option}` is an option of {names}. Received: --mode {mode}"
        if Path(option).exists():
            return f"No option is called `{option}`: for the file, write ./{option}"
        near = difflib.get_close_matches(option, [f"--{name}" for name in self.modes[mode].options])
        advice = f"did you mean {_enumeration(near, 'or')}?" if near else "see --help"
        return f"No option is called `{option}`: {advice}"

    def _completed(self, name: str, found: dict[str, Any], inputs: list[str]) -> argparse.Namespace:
        """The options given and the defaults of the others.

        Raises:
            UsageError: there are inputs where the mode takes none, or an option has no effect.
        """
        mode = self.modes[name]
        values = {o.name: copy.copy(o.default) for o in mode.options.values()} | found
        if inputs and not mode.inputs:
            raise UsageError(f"--mode {name} takes no inputs. Received: {' '.join(inputs)}")
        if mode.inputs:
            values["inputs"] = inputs
        for option in found:
            for condition in mode.conditions(option):
                if not condition.holds(values[condition.option]):
                    raise UsageError(
                        f"`--{option}` only has an effect {condition.words}. Received: "
                        f"{_as_given(condition.option, values[condition.option])}"
                    )
        return argparse.Namespace(mode=name, **values)


class _StoreJoined(argparse.Action):
    """Stores a value, or several, of which those that are `Names` become one list."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """See `argparse.Action`."""
        if isinstance(values, list) and values and all(isinstance(v, Names) for v in values):
            values = list(itertools.chain.from_iterable(values))
        setattr(namespace, self.dest, values)


class _Parser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` without options of its own that raises `UsageError`."""

    def __init__(self, usage: str = "") -> None:
        super().__init__(
            usage=usage,
            add_help=False,
            allow_abbrev=False,
            formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=COLUMN),
        )

    def error(self, message: str) -> NoReturn:
        """Raise a `UsageError` where argparse would print a message and exit.

        Raises:
            UsageError: always.
        """
        for pattern, sentence in REWORDED.items():
            match = re.fullmatch(pattern, message, re.DOTALL)
            if match:
                raise UsageError(match.expand(sentence))
        raise UsageError(message)


def _shown(value: Any) -> str:
    """A default as the help shows it: paths below the current folder without that."""
    if isinstance(value, Path) and value.is_relative_to(Path.cwd()):
        value = value.relative_to(Path.cwd())
    return str(value)


def _effect(conditions: Iterable[Condition]) -> str:
    """Where options have an effect, in words; empty if they always have one."""
    return " and ".join(condition.words for condition in conditions)


def _enumeration(names: Sequence[str], word: str) -> str:
    """Names as a sentence has them: `a, b and c`."""
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _as_given(option: str, value: Any) -> str:
    """An option and its value as they are written on the command line."""
    values = value if isinstance(value, (list, tuple)) else [value]
    text = " ".join(map(str, values))
    if option == "inputs":
        return text or "no inputs"
    if value is True:
        return f"--{option}"
    return f"--{option} {text}" if value else f"no --{option}"
