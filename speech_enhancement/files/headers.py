"""The one door through which recordings come in: a file is opened, and its header is checked.

What is unfinished, see `unfinished`, is read to the end of the file, and `SoundFile.note` says so.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from speech_enhancement.config import MAX_RATE
from speech_enhancement.errors import UserError
from speech_enhancement.files.unfinished import CUT, NO_FAULT, UNFINISHED, PatchedFile, find_fault

MIN_RATE = 1000
MAX_CHANNELS = 64
# A frame of silence in FLAC holds 65,535 samples in 11 bytes; no format has fewer bytes a sample.
MOST_SAMPLES_PER_BYTE = 2**13
SOME_FRAMES = 4096  # what is lost at the end of a stream that breaks off


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
    _patched: PatchedFile | None = None

    def __init__(self, path: Path, **arguments: Any) -> None:
        path = Path(path)
        fault = NO_FAULT if arguments else find_fault(path)
        if fault.patches:
            self._patched = PatchedFile(path, fault.patches)
        self.note = fault.note
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
                f"{path}: `rate` must be between {MIN_RATE} and {MAX_RATE} Hz. Received: "
                f"{self.samplerate}"
            )
        if not 1 <= self.channels <= MAX_CHANNELS:
            self.close()
            raise UserError(
                f"{path}: The number of channels must be between 1 and {MAX_CHANNELS}. Received: "
                f"{self.channels}"
            )
        self._is_endless = self.frames > path.stat().st_size * MOST_SAMPLES_PER_BYTE
        if self._is_endless:
            self.note = UNFINISHED
        elif self.format == "FLAC" and self.note == CUT:
            self._is_endless = True  # libsndfile believes what the header promises

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
