"""Unpacks zip and tar archives: nothing outside of the folder, and all of it or nothing."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from speech_enhancement.errors import UserError
from speech_enhancement.files.atomic import PARTIAL

# What macOS adds to archives.
DEBRIS = "__MACOSX"
BLOCK_BYTES = 2**18
DAMAGES = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive to a folder that is not there yet.

    Where everything lies in one folder inside of the archive, `folder` takes its place. Files are
    unpacked, links and devices left out.

    Args:
        archive: a `.zip`, `.tar` or compressed `.tar`.
        folder: appears when all files are in it.

    Raises:
        UserError: the archive is damaged or names a place outside of itself, or the disk is full.
    """
    place = folder.with_name(f"{PARTIAL}{folder.name}")
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for name, file in _files(archive):
            _write(place, name, file, archive)
        _content(place).replace(folder)
    except (RuntimeError, NotImplementedError) as error:  # of zipfile: encrypted, or a new method
        raise UserError(f"Cannot unpack {archive}: {error}") from error
    except (*DAMAGES, ValueError) as error:
        raise UserError(f"{archive} is damaged: {error}") from error
    except OSError as error:
        raise UserError(f"Cannot unpack {archive}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and content of the files in an archive, with a progress bar on a terminal."""
    entries = _zip_files(archive) if zipfile.is_zipfile(archive) else _tar_files(archive)
    yield from tqdm(entries, desc=f"unpack {archive.name}", unit="file", disable=None)


def _zip_files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and content of the files in a zip."""
    with zipfile.ZipFile(archive) as pack:
        for entry in pack.infolist():
            if not entry.is_dir():
                with pack.open(entry) as file:
                    yield entry.filename, file


def _tar_files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and content of the regular files in a tar."""
    with tarfile.open(archive) as pack:
        for entry in pack:
            if entry.isfile() and (file := pack.extractfile(entry)):
                yield entry.name, file
        _read_to_the_end(pack)


def _read_to_the_end(pack: tarfile.TarFile) -> None:
    """Let the compression verify its checksum, since a damaged header looks like the end."""
    while pack.fileobj and pack.fileobj.read(BLOCK_BYTES):
        pass


def _write(place: Path, name: str, file: IO[bytes], archive: Path) -> None:
    """Write one file of an archive below a folder.

    Raises:
        UserError: it has no name, or one that leads out of the folder.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts:
        raise UserError(f"{archive} was not unpacked: it has a file without a name")
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise UserError(f"{archive} was not unpacked: it names a place outside of itself, {name}")
    if path.parts[0] == DEBRIS:
        return
    target = place / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as output:
        shutil.copyfileobj(file, output)


def _content(place: Path) -> Path:
    """The one folder that holds all that was unpacked, which may be `place` itself."""
    entries = list(place.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else place
