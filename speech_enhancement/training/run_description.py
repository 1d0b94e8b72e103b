"""What a training or a search is, kept in its folder, so that only the same one goes on there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import json_files
from speech_enhancement.files.atomic import write_text


def save(path: Path, description: dict[str, Any]) -> None:
    """Write a description as JSON.

    Args:
        path: the file.
        description: values that JSON keeps, and paths, which are kept whole.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    write_text(path, json.dumps(_plain(description), indent=2) + "\n")


def check(path: Path, description: dict[str, Any], kind: str) -> None:
    """Compare with what was saved.

    Args:
        path: the file.
        description: what is to go on; see `save`.
        kind: `search` or `training`.

    Raises:
        UserError: there is none to resume.
        UsageError: the one that is there is another.
    """
    before = load(path, kind)
    for name, value in _plain(description).items():
        old = before.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            pairs = {key: (old.get(key), value.get(key)) for key in [*value, *old]}
        else:
            pairs = {name: (old, value)}
        for changed, (was, now) in pairs.items():
            if was != now:
                raise UsageError(
                    f"The {kind} in {path.parent} has `{changed}` {was}. Received: {now}"
                )


def load(path: Path, kind: str) -> dict[str, Any]:
    """Read the description that was saved.

    Args:
        path: the file.
        kind: `search` or `training`.

    Raises:
        UserError: there is none, or it is damaged.
    """
    try:
        return json_files.load(path, f"what a {kind} is", json_files.table(json_files.anything))
    except OSError as error:
        raise UserError(f"No {kind} to resume in {path.parent}") from error


def _plain(description: dict[str, Any]) -> dict[str, Any]:
    """A description as it comes back from JSON."""
    return json.loads(json.dumps(description, default=lambda path: str(path.resolve())))
