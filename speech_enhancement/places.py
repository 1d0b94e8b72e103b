"""Where the shipped networks are, and where results go by default.

In a checkout, that is its own folders, wherever a command is started. Where the package is
installed, the shipped networks lie inside of it, and results go to folders below the current one.
"""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_IS_CHECKOUT = (_PACKAGE.parent / "main.py").is_file() and (_PACKAGE.parent / "weights").is_dir()

WORK = _PACKAGE.parent if _IS_CHECKOUT else Path()
WEIGHTS = WORK / "weights"
SHIPPED_WEIGHTS = WEIGHTS if _IS_CHECKOUT else _PACKAGE / "weights"
DEMO_DATA = WORK / "demo_data"  # where there is a checkout
LICENSE = _PACKAGE.parent / "LICENSE"  # likewise
COMMAND = "python main.py" if _IS_CHECKOUT else "speech-enhancement"


def module_environment() -> dict[str, str]:
    """Environment of a process that runs a module of this package, whatever its current folder."""
    paths = (str(_PACKAGE.parent), os.environ.get("PYTHONPATH", ""))
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def install_command(extra: str) -> str:
    """What installs the packages that a part of the project needs.

    Args:
        extra: name of an extra of `pyproject.toml`, with a requirements file of the same name.
    """
    if not _IS_CHECKOUT:
        return f"pip install 'speech-enhancement[{extra}]'"
    return f"pip install -r requirements{'' if extra == 'train' else f'-{extra}'}.txt"
