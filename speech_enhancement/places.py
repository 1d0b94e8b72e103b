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
COMMAND = "python main.py" if _IS_CHECKOUT else "speech-enhancement"


def folder_of_networks(folder: Path) -> Path:
    """The folder to read networks from: that of the shipped ones where the default has none."""
    return SHIPPED_WEIGHTS if folder == WEIGHTS and not folder.is_dir() else folder


def network_stem(folder: Path, name: str) -> Path:
    """Path of a network's files without a suffix; the default folder has the shipped ones, too.

    Args:
        folder: folder of networks.
        name: name of the network.
    """
    stem = folder / name
    return shipped_stem(stem) if folder == WEIGHTS else stem


def shipped_stem(stem: Path) -> Path:
    """The path of a shipped network where there is none at `stem`, and one bears its name."""
    shipped = SHIPPED_WEIGHTS / stem.name
    is_missing = not _card(stem).is_file() and _card(shipped).is_file()
    return shipped if is_missing else stem


def _card(stem: Path) -> Path:
    """The file beside every network."""
    return stem.with_name(f"{stem.name}.json")


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
