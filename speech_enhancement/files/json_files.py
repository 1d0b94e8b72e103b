"""JSON that comes from a disk: read within limits, and checked against what is expected of it.

What is expected is a `Check`, made of those of its parts:

    GEOMETRY = record({"sample_rate": whole(1), "window": text()}, optional={"note": text()})
    geometry = load(path, "a geometry", GEOMETRY)
"""

from __future__ import annotations

import json
import math
import os
import reprlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from speech_enhancement.errors import UserError

LARGEST_FILE = 2**24  # bytes
LARGEST_INDEX = 2**30  # bytes of a file with an entry for each of many recordings
LONGEST_LINE = 2**22  # characters
DEEPEST = 50
LARGEST_WHOLE = 2**53

# Raises a `ValueError` that says what a value must be; the text names its place.
Check = Callable[[Any, str], None]

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def load(path: Path, what: str, check: Check, largest: int = LARGEST_FILE) -> Any:
    """The content of a file.

    Args:
        path: the file.
        what: what it should be, with its article, for the message.
        check: what is expected.
        largest: bytes that it may have.

    Raises:
        OSError: it cannot be read.
        UserError: it is too large, is not JSON, or is not what is expected.
    """
    with Path(path).open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise UserError(f"{path} is not {what}: it has more than {largest} bytes")
    try:
        return parse(data, check)
    except ValueError as error:
        raise UserError(f"{path} is not {what}: {error}") from error


def lines(path: Path, check: Check) -> Iterator[Any]:
    """What the lines of a file hold; those that are damaged, as by a kill, are passed over.

    Raises:
        OSError: it cannot be read.
    """
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        while line := file.readline(LONGEST_LINE):
            try:
                yield parse(line, check)
            except ValueError:
                continue


def is_cut(path: Path) -> bool:
    """Whether the last line of a file has no end, so that the next one must begin with one.

    Raises:
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def parse(data: str | bytes, check: Check) -> Any:
    """The content of a text.

    Raises:
        ValueError: it is not JSON, or not what is expected.
    """
    try:
        content = json.loads(data if isinstance(data, str) else data.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON ({error})") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    _check_depth(content)
    check(content, "")
    return content


def _check_depth(content: Any) -> None:
    """Refuse what is nested so deeply that those who work on it would fail."""
    level = [content]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {DEEPEST} deep")


def anything(value: Any, place: str) -> None:
    """Whatever JSON can hold."""


def truth(value: Any, place: str) -> None:
    """Check that a value is true or false."""
    _require(isinstance(value, bool), value, place, "true or false")


def whole(least: int, most: int = LARGEST_WHOLE) -> Check:
    """A check of whole numbers within limits, which are included."""

    def check(value: Any, place: str) -> None:
        fits = type(value) is int and least <= value <= most
        _require(fits, value, place, f"a whole number from {least} to {most}")

    return check


def number(least: float = -math.inf, most: float = math.inf) -> Check:
    """A check of finite numbers within limits, which are included."""
    limits = "" if math.isinf(most) else f" from {least:g} to {most:g}"

    def check(value: Any, place: str) -> None:
        fits = type(value) in (int, float) and abs(value) < math.inf and least <= value <= most
        _require(fits, value, place, f"a number{limits}")

    return check


def any_number(value: Any, place: str) -> None:
    """Check that a value is a number, which need not be finite."""
    _require(type(value) in (int, float), value, place, "a number")


def scalar(value: Any, place: str) -> None:
    """Check that a value is neither a list nor an object."""
    _require(not isinstance(value, list | dict), value, place, "a single value")


def text(longest: int = LONGEST_LINE) -> Check:
    """A check of texts of at most so many characters."""

    def check(value: Any, place: str) -> None:
        _require(isinstance(value, str) and len(value) <= longest, value, place, "a text")

    return check


def optional(check_value: Check) -> Check:
    """A check that accepts null, and what another check accepts."""

    def check(value: Any, place: str) -> None:
        if value is not None:
            check_value(value, place)

    return check


def items(check_item: Check) -> Check:
    """A check of lists whose items another check accepts."""

    def check(value: Any, place: str) -> None:
        _require(isinstance(value, list), value, place, "a list")
        for index, item in enumerate(value):
            check_item(item, f"{place}[{index}]")

    return check


def row(*checks: Check) -> Check:
    """A check of lists with one item for each of some checks."""

    def check(value: Any, place: str) -> None:
        fits = isinstance(value, list) and len(value) == len(checks)
        _require(fits, value, place, f"a list of {len(checks)}")
        for index, (item, check_item) in enumerate(zip(value, checks, strict=True)):
            check_item(item, f"{place}[{index}]")

    return check


def table(check_value: Check) -> Check:
    """A check of objects with any names, whose values another check accepts."""

    def check(value: Any, place: str) -> None:
        _require(isinstance(value, dict), value, place, "an object")
        for name, inner in value.items():
            check_value(inner, _within(place, name))

    return check


def record(
    fields: Mapping[str, Check],
    optional: Mapping[str, Check] | None = None,
    others: bool = True,
) -> Check:
    """A check of objects with certain names.

    Args:
        fields: those that must be there, with what is expected of their values.
        optional: those that may be there.
        others: whether further ones may be there, too.
    """
    known = {**fields, **(optional or {})}

    def check(value: Any, place: str) -> None:
        _require(isinstance(value, dict), value, place, "an object")
        for name in fields:
            if name not in value:
                raise ValueError(f"`{_within(place, name)}` is missing")
        for name, inner in value.items():
            if name in known:
                known[name](inner, _within(place, name))
            elif not others:
                raise ValueError(f"`{_short(_within(place, name))}` is unknown")

    return check


def _within(place: str, name: str) -> str:
    """The place of a field, in words for a message."""
    return f"{place}.{name}" if place else name


def _require(fits: bool, value: Any, place: str, wanted: str) -> None:
    """Refuse a value unless it fits."""
    if not fits:
        subject = f"`{_short(place)}`" if place else "it"
        raise ValueError(f"{subject} must be {wanted}. Received: {_SHORT.repr(value)}")


def _short(name: str) -> str:
    """A name that a message can hold."""
    return name if len(name) <= 80 else f"{name[:77]}..."
