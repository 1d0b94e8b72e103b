"""What a `.keras` file is, before Keras opens it: a whole archive of a size that a network has."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from speech_enhancement.errors import UserError
from speech_enhancement.files import json_files

CONFIGURATION = "config.json"
# Keras stores its files as they are, so that a network unpacks to hardly more than the archive.
LARGEST_RATIO = 4
ALWAYS_ALLOWED = 2**26  # bytes
BLOCK_BYTES = 2**20


def check(path: Path) -> None:
    """Refuse an archive that is damaged, or would fill the memory.

    Args:
        path: a `.keras` file.

    Raises:
        UserError: it is such an archive, or none at all.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(path, archive)
            json_files.parse(archive.read(CONFIGURATION), json_files.table(json_files.anything))
    except KeyError as error:
        raise UserError(f"{path} is no Keras network: it has no {CONFIGURATION}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no Keras network: {error}") from error


def _check_sizes(path: Path, archive: zipfile.ZipFile) -> None:
    """Add up what an archive says that it holds, and then what it does hold.

    Raises:
        UserError: either is too much.
    """
    most = max(ALWAYS_ALLOWED, LARGEST_RATIO * path.stat().st_size)
    if sum(entry.file_size for entry in archive.infolist()) > most:
        raise UserError(
            f"{path} unpacks to more than {most / 2**20:.0f} MiB, which no network does"
        )
    unpacked = 0
    for entry in archive.infolist():
        with archive.open(entry) as file:
            while block := file.read(BLOCK_BYTES):
                unpacked += len(block)
                if unpacked > most:
                    raise UserError(f"{path} unpacks to more than {most / 2**20:.0f} MiB")
