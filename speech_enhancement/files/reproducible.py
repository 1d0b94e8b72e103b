"""Sets what libsndfile writes of its own, a time or a random number, to fixed values.

So the same sound gives the same bytes, today and tomorrow.

Reference: RFC 3533, the Ogg encapsulation format; libsndfile's PEAK chunk of WAV and AIFF.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

# Where each container's chunks end, and how their sizes are stored.
SOUND_CHUNKS = {b"RIFF": (b"data", "<I"), b"FORM": (b"SSND", ">I")}
FIRST_CHUNK = 12
PEAK_TIME = 4  # bytes into the chunk
OGG_HEADER = struct.Struct("<4sBBqIIIB")
OGG_SERIAL = 1
REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def make_reproducible(path: Path) -> None:
    """Rewrite a finished audio file in place.

    Args:
        path: the file; one without times and random numbers stays as it is.
    """
    with path.open("r+b") as file:
        kind = file.read(4)
        if kind == b"OggS":
            _renumber_pages(file)
        elif kind in SOUND_CHUNKS:
            _forget_peak_time(file, *SOUND_CHUNKS[kind])


def _forget_peak_time(file: BinaryIO, sound: bytes, size_format: str) -> None:
    """Zero the time in the PEAK chunk, which stands before the sound."""
    position = FIRST_CHUNK
    while True:
        file.seek(position)
        header = file.read(8)
        if len(header) < 8 or header[:4] == sound:
            return
        position += 8
        if header[:4] == b"PEAK":
            file.seek(position + PEAK_TIME)
            file.write(bytes(4))
        (size,) = struct.unpack(size_format, header[4:])
        position += size + size % 2


def _renumber_pages(file: BinaryIO) -> None:
    """Give the stream a fixed serial number, page by page."""
    position = 0
    while True:
        file.seek(position)
        header = file.read(OGG_HEADER.size)
        if len(header) < OGG_HEADER.size:
            return
        *start, _, sequence, _, n_segments = OGG_HEADER.unpack(header)
        segments = file.read(n_segments)
        body = segments + file.read(sum(segments))
        blank = OGG_HEADER.pack(*start, OGG_SERIAL, sequence, 0, n_segments)
        checksum = ogg_checksum(blank + body)
        file.seek(position)
        file.write(OGG_HEADER.pack(*start, OGG_SERIAL, sequence, checksum, n_segments))
        position += OGG_HEADER.size + len(body)


def ogg_checksum(data: bytes) -> int:
    """CRC-32 as in an Ogg page, whose bits run the other way round than zlib's.

    Args:
        data: the page, its own checksum zero.
    """
    checksum = zlib.crc32(data.translate(REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{checksum:032b}"[::-1], 2)
