"""Opens `.keras` files, once they are known to be whole archives of a size that a network has."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from pathlib import Path
from typing import Any

from speech_enhancement import places, registry
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
        raise UserError(f"{path} is not a Keras network: it has no {CONFIGURATION}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a Keras network: {error}") from error


def load(
    path: Path, model: str | None = None, threads: int | None = None, compile: bool = False
) -> Any:
    """A saved network as a `keras.Model`, without running any code that the file may carry.

    Args:
        path: of the `.keras` file.
        model: name in `registry.MODELS`, whose own layers become known to Keras; those of the
            models that are imported already are known.
        threads: see `limit_threads`; no limit by default.
        compile: with its loss and its optimizer, where the file holds them.

    Raises:
        UserError: the file is missing or is not a network, or Keras is not installed.
    """
    if not Path(path).is_file():
        raise UserError(f"No network at {path}")
    check(Path(path))
    try:
        import keras
    except ImportError as error:
        raise UserError(f"{path} needs `{places.install_command('train')}`") from error
    if threads is not None:
        limit_threads(threads)
    if model is not None:
        registry.resolve(registry.MODELS, "model", model)
    try:
        return keras.saving.load_model(path, compile=compile, safe_mode=True)
    except Exception as error:  # a damaged archive raises whatever its damage causes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"Cannot read {path} as a Keras network: {reason}") from error


def limit_threads(threads: int) -> None:
    """Keep TensorFlow to the threads asked for, if it has not started its own yet."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow

    with contextlib.suppress(RuntimeError):
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)


def _check_sizes(path: Path, archive: zipfile.ZipFile) -> None:
    """Add up what an archive says that it holds, and then what it does hold.

    Raises:
        UserError: either is too much.
    """
    most = max(ALWAYS_ALLOWED, LARGEST_RATIO * path.stat().st_size)
    if sum(entry.file_size for entry in archive.infolist()) > most:
        raise UserError(
            f"{path} unpacks to more than {most / 2**20:.0f} MiB, more than any network needs"
        )
    unpacked = 0
    for entry in archive.infolist():
        with archive.open(entry) as file:
            while block := file.read(BLOCK_BYTES):
                unpacked += len(block)
                if unpacked > most:
                    raise UserError(f"{path} unpacks to more than {most / 2**20:.0f} MiB")
