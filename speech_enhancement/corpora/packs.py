"""Recordings of many folders as one file, for machines that the folders do not reach.

A pack is a zip archive that stores the files as they are. To write one, and to read a folder of it:

    python -m speech_enhancement.corpora.packs data data.zip
    python main.py --mode training --data dynamic --voice_dir data.zip/speech
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import atomic, audio_io

USAGE = "usage: python -m speech_enhancement.corpora.packs FOLDER PACK.zip"


def pack(folder: Path, path: Path) -> int:
    """Write all audio below `folder` to a pack; the same files give the same bytes.

    Args:
        folder: where to look.
        path: the pack.

    Returns:
        How many files it holds.

    Raises:
        UserError: there is no audio, or the pack cannot be written.
    """
    files = audio_io.find_audio_files(folder)
    with atomic.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in files:
            name = file.relative_to(folder).as_posix().encode("utf-8", "backslashreplace").decode()
            entry = zipfile.ZipInfo(name)
            archive.writestr(entry, file.read_bytes())
    return len(files)


def as_folder(path: Path, cache_dir: Path) -> Path:
    """A folder of recordings: `path` itself, or what it names in a pack, unpacked once.

    Args:
        path: a folder, a pack, or a folder in a pack (`data.zip/speech`).
        cache_dir: where packs are unpacked.

    Raises:
        UserError: the file is no pack, or `cache_dir` cannot be written.
    """
    path = Path(path)
    for candidate in (path, *path.parents):
        if candidate.is_file():
            return _unpacked(candidate, Path(cache_dir)) / path.relative_to(candidate)
    return path


def _unpacked(path: Path, cache_dir: Path) -> Path:
    """The folder that a pack was or is now unpacked to."""
    status = path.stat()
    state = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
    folder = cache_dir / f"pack_{hashlib.sha256(state.encode()).hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    temporary = None
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.mkdtemp(dir=cache_dir)
        with zipfile.ZipFile(path) as archive:
            archive.extractall(temporary)
        Path(temporary).replace(folder)
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is neither a folder nor a pack of recordings") from error
    except (RuntimeError, NotImplementedError, zlib.error, EOFError, ValueError) as error:
        raise UserError(f"Cannot unpack {path}: {error}") from error
    except OSError as error:
        raise UserError(f"Cannot unpack {path} to {cache_dir}: {error.strerror}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def main(argv: Sequence[str] | None = None) -> int:
    """Pack a folder from the command line, as the module says."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 2:
        print(USAGE, file=sys.stderr)
        return UsageError.exit_code
    folder, path = map(Path, arguments)
    try:
        count = pack(folder, path)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{count} recordings in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
