"""What a WAV file says beside its sound and its tags: when it was recorded, by what, its markers.

libsndfile keeps none of it, so it is carried over chunk by chunk.

Reference: EBU Tech 3285 (`bext`), the iXML specification, RIFF's `cue ` and `LIST` chunks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

Chunks = tuple[tuple[bytes, bytes], ...]

BROADCAST = b"bext"
WHOLE_FILE_ONLY = (b"iXML", b"cue ", b"smpl", b"adtl")
TIME_REFERENCE = 338  # bytes into `bext`: samples since midnight, 64 bits
LARGEST_CHUNK = 2**24
MOST_CHUNKS = 10_000  # a file of empty ones would take an hour


def read_chunks(path: Path) -> Chunks:
    """The chunks to carry over, name and data, in their order; none if it is no WAV file."""
    with path.open("rb") as file:
        header = file.read(12)
        if header[:4] != b"RIFF" or header[8:] != b"WAVE":
            return ()
        return tuple(_wanted(file))


def _wanted(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a file to carry over; a list of labels is named after its kind."""
    for name, begin, size in walk(file):
        if name == b"LIST":
            name = file.read(4)
            file.seek(begin)
        if name in (BROADCAST, *WHOLE_FILE_ONLY) and size <= LARGEST_CHUNK:
            data = file.read(size)
            if len(data) == size:
                yield name, data


def walk(file: BinaryIO, place: int = 12, order: str = "<") -> Iterator[tuple[bytes, int, int]]:
    """Names, places and sizes of the chunks of a RIFF or IFF file, which stands at the place then.

    Args:
        file: the file.
        place: where the first chunk begins, bytes.
        order: of the bytes of sizes, as in `struct`.
    """
    for _ in range(MOST_CHUNKS):
        file.seek(place)
        header = file.read(8)
        if len(header) < 8:
            return
        name, size = struct.unpack(f"{order}4sI", header)
        yield name, place + 8, size
        place += 8 + size + size % 2


def cut(chunks: Chunks, begin: int, is_whole: bool) -> Chunks:
    """The chunks of a part of a recording.

    Args:
        chunks: those of the whole.
        begin: where the part begins, samples.
        is_whole: nothing is cut off; else markers would stand in wrong places and are left out.
    """
    return tuple(
        (name, _later(data, begin) if name == BROADCAST else data)
        for name, data in chunks
        if is_whole or name == BROADCAST
    )


def _later(broadcast: bytes, samples: int) -> bytes:
    """A `bext` chunk with the time reference moved by some samples."""
    end = TIME_REFERENCE + 8
    if len(broadcast) < end:
        return broadcast
    (time,) = struct.unpack_from("<Q", broadcast, TIME_REFERENCE)
    moved = struct.pack("<Q", (time + samples) % 2**64)
    return broadcast[:TIME_REFERENCE] + moved + broadcast[end:]


def append_chunks(path: Path, chunks: Chunks) -> None:
    """Write chunks behind the sound of a WAV file."""
    if not chunks:
        return
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        file.write(bytes(size % 2))
        for name, data in chunks:
            name = b"LIST" if name == b"adtl" else name
            file.write(struct.pack("<4sI", name, len(data)) + data + bytes(len(data) % 2))
        size = file.tell()
        file.seek(4)
        file.write(struct.pack("<I", size - 8))
