"""Paths that a program may give as texts."""

from __future__ import annotations

import dataclasses
from pathlib import Path


class PathFields:
    """A dataclass whose fields of the types `Path` and `Path | None` take texts, too.

    Its module must import annotations from `__future__`, so that types are known by their names.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # the subclass is one
            value = getattr(self, field.name)
            if field.type in ("Path", "Path | None") and isinstance(value, str):
                object.__setattr__(self, field.name, Path(value))  # it may be frozen
