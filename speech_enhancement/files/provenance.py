"""When, where, with what and how figures were made, for the reports that show them."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from speech_enhancement import places


def circumstances(packages: Iterable[str]) -> dict[str, Any]:
    """Date, machine, versions and command line of this process.

    Args:
        packages: names of those that the figures depend on.
    """
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{processor()}, {os.cpu_count()} threads, {platform.system()}",
        "versions": {"Python": platform.python_version(), **versions(packages)},
        "command": shlex.join([*places.COMMAND.split(), *sys.argv[1:]]),
    }


def shareable(report: dict[str, Any]) -> dict[str, Any]:
    """A report whose command others can repeat: folders by their own names only.

    Args:
        report: its `about` holds `circumstances`.
    """
    words = shlex.split(report["about"]["command"])
    command = shlex.join(Path(word).name if Path(word).is_absolute() else word for word in words)
    return report | {"about": report["about"] | {"command": command}}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of installed packages by name."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def processor() -> str:
    """Name of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
