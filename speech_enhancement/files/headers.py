"""The one door through which recordings come in: a file is opened, and its header is checked.

Recorders that die, and programs that write to pipes, leave headers without sizes although all of
the sound is there. It is read to the end of the file, and `SoundFile.note` says so.

Reference: RIFF and RF64 (EBU Tech 3306), Apple's Core Audio Format, Sun's .au, FLAC's STREAMINFO.
"""

from __future__ import annotations

import dataclasses
import io
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from speech_enhancement.config import MAX_RATE
from speech_enhancement.errors import UserError

MIN_RATE = 1000
MAX_CHANNELS = 64
# A frame of silence in FLAC holds 65,535 samples in 11 bytes; no format has fewer bytes a sample.
MOST_SAMPLES_PER_BYTE = 2**13
LARGEST_32 = 2**32 - 1
SOME_FRAMES = 4096  # what is lost at the end of a stream that breaks off
UNFINISHED = "its header is unfinished; it was read to the end of the file"

Patches = dict[int, bytes]


class SoundFile(soundfile.SoundFile):
    """A recording to read in libsndfile, block by block.

    Args:
        path: the file.
        arguments: how to read it if it has no header, see `soundfile.SoundFile`.

    Attributes:
        note: what is wrong with its header; empty if nothing is.

    Raises:
        UserError: its header names a rate or channels that nothing here can use.
        soundfile.SoundFileError, OSError: libsndfile or the system refuses it.
    """

    # What `close` reads, even of a file that Ctrl-C kept from being opened.
    _is_open = _is_endless = False
    _patched: _Patched | None = None

    def __init__(self, path: Path, **arguments: Any) -> None:
        path = Path(path)
        patches = {} if arguments else _patches(path)
        if patches:
            self._patched = _Patched(path, patches)
        self.note = UNFINISHED if patches else ""
        source = self._patched or native_name(path)
        try:
            super().__init__(source, "r", **arguments)
            self._is_open = True
            self._check(path)
        except BaseException:
            self._close_patched()
            raise

    def _check(self, path: Path) -> None:
        """Refuse what no recording has, and do not believe lengths that the file has no room for.

        Raises:
            UserError: the rate or the channels are such.
        """
        if not MIN_RATE <= self.samplerate <= MAX_RATE:
            self.close()
            raise UserError(
                f"{path}: `rate` must be {MIN_RATE}..{MAX_RATE} Hz. Received: {self.samplerate}"
            )
        if not 1 <= self.channels <= MAX_CHANNELS:
            self.close()
            raise UserError(
                f"{path}: There must be 1..{MAX_CHANNELS} channels. Received: {self.channels}"
            )
        self._is_endless = self.frames > path.stat().st_size * MOST_SAMPLES_PER_BYTE
        if self._is_endless:
            self.note = UNFINISHED

    @property
    def length(self) -> int | None:
        """Samples of each channel, where the header tells."""
        return None if self._is_endless else self.frames

    def seekable(self) -> bool:
        """Whether libsndfile may go to any place, which it cannot if the length is unknown."""
        return super().seekable() and not self._is_endless

    def blocks_of(self, size: int) -> Iterator[np.ndarray]:
        """All samples, float32 (samples, channels), in blocks of at most `size`."""
        size = min(size, SOME_FRAMES) if self._is_endless else size
        position = 0
        try:
            while len(block := self.read(size, dtype="float32", always_2d=True)):
                position += len(block)
                yield block
        except soundfile.SoundFileError:
            if not self._is_endless or not position:
                raise

    def close(self) -> None:
        """Close the file."""
        if self._is_open:
            super().close()
        self._close_patched()

    def _close_patched(self) -> None:
        """Close the file that libsndfile reads through this process."""
        if self._patched is not None:
            self._patched.close()


@dataclasses.dataclass(frozen=True)
class Header:
    """What a recording is, without its samples.

    Args:
        rate: Hz.
        channels: number of channels.
        duration: seconds.
    """

    rate: int
    channels: int
    duration: float


def read_header(path: Path) -> Header:
    """Rate, channels and length of a recording; one whose header tells no length is read for it.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with SoundFile(path) as file:
            length = file.length
            if length is None:
                length = sum(len(block) for block in file.blocks_of(SOME_FRAMES))
            return Header(file.samplerate, file.channels, length / file.samplerate)
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(f"Cannot read {path} as audio: {str(error).rstrip('.')}") from error


def native_name(path: Path) -> bytes | str:
    """A path for libsndfile, even if it is no valid text."""
    try:
        str(path).encode(sys.getfilesystemencoding())
    except UnicodeEncodeError:
        return os.fsencode(path)
    return str(path)


class _Patched(io.RawIOBase):
    """A file, some bytes of which read as others."""

    def __init__(self, path: Path, patches: Patches) -> None:
        self._file = path.open("rb")
        self._patches = patches

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; gives how much of it."""
        begin = self._file.tell()
        view = memoryview(buffer).cast("B")
        count = self._file.readinto(view)
        for place, data in self._patches.items():
            for offset, byte in enumerate(data, place - begin):
                if 0 <= offset < count:
                    view[offset] = byte
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _patches(path: Path) -> Patches:
    """What the header of an unfinished file would say; empty if it is finished or of other kind."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        beginning = file.read(16)
        if beginning[:4] in (b"RIFF", b"RF64") and beginning[8:12] == b"WAVE":
            file.seek(12)
            return _wav_patches(file, end, beginning[:4] == b"RF64")
        if beginning[:4] == b"caff":
            file.seek(8)
            return _caf_patches(file, end)
        if beginning[:4] == b".snd" and beginning[8:12] == bytes(4):
            return {8: struct.pack(">I", LARGEST_32)}
    return {}


def _wav_patches(file: BinaryIO, end: int, is_large: bool) -> Patches:
    """The sizes of a RIFF or RF64 file whose data have none, but are there."""
    sizes = 0
    is_unfinished = False
    while len(header := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", header)
        begin = file.tell()
        if name == b"ds64" and is_large:
            sizes = begin
            is_unfinished = struct.unpack("<Q", file.read(24)[8:16].ljust(8))[0] in (0, 2**64 - 1)
        if name == b"data":
            left = end - begin
            if is_large and sizes and is_unfinished:
                return {sizes: struct.pack("<QQQ", end - 8, left, 0)}
            if not is_large and not size and left and not _is_chunk(file, left):
                return {begin - 4: struct.pack("<I", min(left, LARGEST_32))}
            return {}
        file.seek(begin + size + size % 2)
    return {}


def _is_chunk(file: BinaryIO, left: int) -> bool:
    """Whether chunks follow that end where the file ends, and no sound."""
    while left >= 8:
        name, size = struct.unpack("<4sI", file.read(8))
        left -= 8 + size + size % 2
        if not name.isascii() or left < 0:
            return False
        file.seek(size + size % 2, os.SEEK_CUR)
    return left == 0


def _caf_patches(file: BinaryIO, end: int) -> Patches:
    """The size of a CAF file's data, if it is unknown."""
    while len(header := file.read(12)) == 12:
        name, size = struct.unpack(">4sq", header)
        begin = file.tell()
        if name == b"data":
            is_unfinished = size in (0, -1) and end > begin
            return {begin - 8: struct.pack(">q", end - begin)} if is_unfinished else {}
        if size < 0:
            return {}
        file.seek(begin + size)
    return {}
