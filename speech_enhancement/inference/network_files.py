"""The files of a network, which appear together or not at all.

They are written into a folder of their own, and are there from the moment at which it is called
`.NAME.ready`. Whoever comes next, to read the network or to write it, moves out of it what a kill
left in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from speech_enhancement import places
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import atomic
from speech_enhancement.inference import hub

KERAS, ONNX, CARD = ".keras", ".onnx", ".json"
SUFFIXES = (KERAS, ONNX, CARD)
ALL = "all"


def file_of(stem: Path, suffix: str) -> Path:
    """The path of a file of a network, whose name may have dots.

    Args:
        stem: path of the network's files without suffix.
        suffix: one of `SUFFIXES`.
    """
    return stem.with_name(f"{stem.name}{suffix}")


def stem_of(path: Path) -> Path:
    """The path of a network without suffix, whichever of its files is named."""
    return path.with_suffix("") if path.suffix in SUFFIXES else path


def stem_named(network: str | Path) -> Path:
    """The path without suffix of a network that a program names.

    Args:
        network: name of a shipped network, path of a network with or without suffix, or its address
            (see `hub`).

    Raises:
        UsageError: it names nothing.
        UserError: there is no network at the address.
    """
    if isinstance(network, str) and hub.is_address(network):
        return hub.fetch(network)
    stem = stem_of(Path(network))
    if not stem.name:
        raise UsageError(f"`network` must be a name or a path. Received: {str(network)!r}")
    return shipped_stem(stem) if stem == Path(stem.name) else stem


def folder_of_networks(folder: Path) -> Path:
    """The folder to read networks from: that of the shipped ones where the default has none."""
    missing = folder == places.WEIGHTS and not folder.is_dir()
    return places.SHIPPED_WEIGHTS if missing else folder


def stem_in(folder: Path, name: str) -> Path:
    """Path of a network's files without a suffix; the default folder has the shipped ones, too.

    Args:
        folder: folder of networks.
        name: name of the network, or of one of its files, or its address (see `hub`).

    Raises:
        UserError: there is no network at the address.
    """
    if hub.is_address(name):
        return hub.fetch(name)
    stem = stem_of(folder / name)
    return shipped_stem(stem) if folder == places.WEIGHTS else stem


def shipped_stem(stem: Path) -> Path:
    """The path of a shipped network where there is none at `stem`, and one bears its name."""
    shipped = places.SHIPPED_WEIGHTS / stem.name
    is_missing = not file_of(stem, CARD).is_file() and file_of(shipped, CARD).is_file()
    return shipped if is_missing else stem


def names_in(folder: Path, suffix: str = ONNX) -> list[str]:
    """Names of the networks in a folder that have a certain file, sorted."""
    return sorted(path.stem for path in folder_of_networks(folder).glob(f"*{suffix}"))


def stems_of(folder: Path, names: Sequence[str], suffix: str = ONNX) -> list[Path]:
    """Paths of networks without suffix.

    Args:
        folder: folder of networks.
        names: of the networks; `["all"]` for all that have a certain file.
        suffix: of that file.

    Raises:
        UserError: all are asked for, and there are none.
    """
    if list(names) == [ALL]:
        names = names_in(folder, suffix)
        if not names:
            raise UserError(f"There are no networks in {folder_of_networks(folder)}")
    return [stem_in(folder, name) for name in names]


@contextlib.contextmanager
def replacing_network(stem: Path) -> Iterator[Path]:
    """A folder whose files come to lie beside `stem` if the block succeeds, else vanish.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    stem = Path(stem)
    try:
        with atomic.partial_folder(stem.parent) as folder:
            yield folder
            for path in folder.iterdir():
                atomic.flush(path)
            atomic.flush(folder)
            complete(stem)
            folder.rename(_ready(stem))
            atomic.flush(stem.parent)
        complete(stem)
    except OSError as error:
        raise UserError(f"Cannot write {stem}: {error.strerror or error}") from error


def complete(stem: Path) -> None:
    """Lay files that are ready beside `stem`.

    Raises:
        OSError: they cannot be moved.
    """
    ready = _ready(stem)
    if not ready.is_dir():
        return
    for path in ready.iterdir():
        # Another process may be doing the same.
        with contextlib.suppress(FileNotFoundError):
            path.replace(stem.parent / path.name)
    atomic.flush(stem.parent)
    with contextlib.suppress(FileNotFoundError):
        ready.rmdir()


def complete_for_reading(stem: Path) -> None:
    """Do what `complete` does if the folder can be written."""
    with contextlib.suppress(OSError):
        complete(stem)


def _ready(stem: Path) -> Path:
    """The folder of files that only have to be moved."""
    return stem.with_name(f".{stem.name}.ready")
