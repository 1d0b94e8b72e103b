"""What the headers of unfinished recordings would say, had somebody finished them.

Recorders that die, and programs that write to pipes, leave headers without sizes, or with those of
a file without sound; copies that break off leave headers that promise more than there is.

Reference: RIFF and RF64 (EBU Tech 3306), Sony's Wave64, Apple's AIFF and Core Audio Format, Sun's
.au, Ogg (RFC 3533), FLAC (RFC 9639).
"""

from __future__ import annotations

import dataclasses
import io
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from speech_enhancement.files.wav_chunks import MOST_CHUNKS, walk

UNFINISHED = "its header is unfinished; it was read to the end of the file"
CUT = "it ends earlier than its header says"
LARGEST_32, LARGEST_64 = 2**32 - 1, 2**64 - 1
# Sizes by which programs that write to pipes say that they know none.
UNKNOWN_32, UNKNOWN_64 = (0, LARGEST_32), (0, 2**63 - 1, LARGEST_64)
W64_HEADER, W64_ALIGNMENT = 24, 8
W64_ID_END = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
CAF_EDIT_COUNT = 4  # bytes in front of the sound
LARGEST_PAGE = 65307
LAST_PAGE = 4
FLAC_INFO_AT = 8
FLAC_TAIL = 2**18  # bytes; no frame of usual recordings is longer
FLAC_NUMBER_AT = 4  # in the header of a frame
FLAC_LONGEST_HEADER = 16
FLAC_BLOCK_SIZES = (
    {1: 192}
    | {code: 144 << code for code in range(2, 6)}
    | {code: 1 << code for code in range(8, 16)}
)

Patches = Mapping[int, bytes]


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is wrong with a header.

    Args:
        note: what a listener should know; empty if nothing is wrong.
        patches: what it would say, by places in the file, where libsndfile needs to be told.
    """

    note: str = ""
    patches: Patches = dataclasses.field(default_factory=dict)


NO_FAULT = Fault()


def find_fault(path: Path) -> Fault:
    """What is wrong with the sizes that a file's header names.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        beginning = file.read(16)
        for name, find in FORMATS.items():
            if beginning.startswith(name):
                return find(file, end)
    return NO_FAULT


def _wav_fault(file: BinaryIO, end: int) -> Fault:
    """The fault of a RIFF file."""
    for name, begin, size in walk(file):
        if name == b"data":
            left = end - begin
            if size == 0 and left and not _is_chunk(file, begin, end):
                return Fault(UNFINISHED, {begin - 4: struct.pack("<I", min(left, LARGEST_32))})
            return Fault(CUT) if left < size < LARGEST_32 else NO_FAULT
    return NO_FAULT


def _rf64_fault(file: BinaryIO, end: int) -> Fault:
    """The fault of an RF64 file, whose sizes are in a chunk of their own."""
    sizes, promised = 0, LARGEST_64
    for name, begin, _ in walk(file):
        if name == b"ds64":
            sizes = begin
            promised = struct.unpack("<Q", file.read(16)[8:].ljust(8))[0]
        if name == b"data" and sizes:
            left = end - begin
            if promised in UNKNOWN_64:
                return Fault(UNFINISHED, {sizes: struct.pack("<QQQ", end - 8, left, 0)})
            return Fault(CUT) if promised > left else NO_FAULT
    return NO_FAULT


def _aiff_fault(file: BinaryIO, end: int) -> Fault:
    """The fault of an AIFF file: sound follows 8 bytes in its chunk, and is counted in another."""
    frames_at = frames = 0
    for name, begin, size in walk(file, order=">"):
        if name == b"COMM":
            frames_at = begin + 2
            frames = struct.unpack(">2xI", file.read(6).ljust(6, b"\0"))[0]
        if name == b"SSND":
            left = end - begin
            is_unfinished = size in (0, 8, LARGEST_32) and frames in UNKNOWN_32 and left > 8
            if frames_at and is_unfinished and not _is_chunk(file, begin + 8, end):
                size_32 = struct.pack(">I", min(left, LARGEST_32))
                return Fault(UNFINISHED, {frames_at: struct.pack(">I", 0), begin - 4: size_32})
            return Fault(CUT) if size > left else NO_FAULT
    return NO_FAULT


def _w64_fault(file: BinaryIO, end: int) -> Fault:
    """The fault of a Wave64 file. Sizes count their own headers; libsndfile does without them."""
    place = 40
    for _ in range(MOST_CHUNKS):
        if place + W64_HEADER > end:
            break
        file.seek(place)
        name, size = struct.unpack("<16sQ", file.read(W64_HEADER))
        if name == b"data" + W64_ID_END:
            if size <= W64_HEADER or size in UNKNOWN_64:
                return Fault(UNFINISHED) if end > place + W64_HEADER else NO_FAULT
            return Fault(CUT) if place + size > end else NO_FAULT
        place += max(W64_HEADER, size + -size % W64_ALIGNMENT)
    return NO_FAULT


def _caf_fault(file: BinaryIO, end: int) -> Fault:
    """The fault of a CAF file."""
    place = 8
    for _ in range(MOST_CHUNKS):
        if place + 12 > end:
            break
        file.seek(place)
        name, size = struct.unpack(">4sq", file.read(12))
        left = end - place - 12
        if name == b"data":
            patch = {place + 4: struct.pack(">q", left)}
            if size in (-1, 0, CAF_EDIT_COUNT) and left > CAF_EDIT_COUNT:
                return Fault(UNFINISHED, patch)
            return Fault(CUT, patch) if size > left else NO_FAULT
        place += 12 + max(0, size)
    return NO_FAULT


def _au_fault(file: BinaryIO, end: int) -> Fault:
    """The fault of an .au file."""
    file.seek(4)
    begin, size = struct.unpack(">II", file.read(8).ljust(8, b"\0"))
    if size == 0 and end > begin:
        return Fault(UNFINISHED, {8: struct.pack(">I", LARGEST_32)})
    return Fault(CUT) if end - begin < size < LARGEST_32 else NO_FAULT


def _ogg_fault(file: BinaryIO, end: int) -> Fault:
    """The fault of an Ogg file, whose last page says that it is the last."""
    begin = file.seek(max(0, end - LARGEST_PAGE))
    data = file.read()
    place = data.rfind(b"OggS")
    page = data[place:]
    if place < 0 or len(page) < 27 or not page[5] & LAST_PAGE:
        return Fault(CUT) if place >= 0 or begin else NO_FAULT
    return Fault(CUT) if 27 + page[26] + sum(page[27 : 27 + page[26]]) > len(page) else NO_FAULT


def _flac_fault(file: BinaryIO, end: int) -> Fault:
    """The fault of a FLAC file whose header counts samples that its last frame does not reach."""
    file.seek(FLAC_INFO_AT)
    info = file.read(18).ljust(18, b"\0")
    block_size = int.from_bytes(info[2:4])
    n_samples = int.from_bytes(info[13:18]) & (2**36 - 1)
    place, is_last = 4, False
    while not is_last and place < end:
        file.seek(place)
        kind, *size = file.read(4).ljust(4, b"\0")
        is_last, place = bool(kind & 0x80), place + 4 + int.from_bytes(size)
    file.seek(place)
    first = file.read(4)
    if len(first) < 4 or first[0] != 0xFF or first[1] & 0xFE != 0xF8:
        return NO_FAULT
    file.seek(max(place, end - FLAC_TAIL))
    reached = _end_of_last_flac_frame(file.read(), first, block_size)
    return Fault(CUT) if reached is not None and reached < n_samples else NO_FAULT


def _end_of_last_flac_frame(data: bytes, first: bytes, block_size: int) -> int | None:
    """Where the last frame that begins in some bytes ends, in samples; none if there is none.

    Args:
        data: the bytes.
        first: those with which the first frame of the file begins.
        block_size: samples of each frame but the last, where frames are numbered.
    """
    place = len(data)
    while (place := data.rfind(first[:2], 0, place)) >= 0:
        header = data[place : place + FLAC_LONGEST_HEADER]
        # The rate and the sample type are those of the first frame.
        alike = len(header) > 6 and not (header[2] ^ first[2] | header[3] ^ first[3]) & 0x0F
        if alike and (end := _end_of_flac_frame(header, block_size)) is not None:
            return end
    return None


def _end_of_flac_frame(header: bytes, block_size: int) -> int | None:
    """Where a frame ends, in samples; none if the bytes are not the header of one."""
    size_code, rate_code = header[2] >> 4, header[2] & 15
    leading = header[FLAC_NUMBER_AT]  # of a number that is coded as UTF-8 codes characters
    following = max(0, 7 - (~leading & 0xFF).bit_length())
    after = FLAC_NUMBER_AT + 1 + following
    number = leading & (0xFF >> min(8, following + 2) if following else 0x7F)
    for byte in header[FLAC_NUMBER_AT + 1 : after]:
        number = number << 6 | byte & 0x3F
    size_bytes = {6: 1, 7: 2}.get(size_code, 0)
    checksum_at = after + size_bytes + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if checksum_at >= len(header) or _crc8(header[:checksum_at]) != header[checksum_at]:
        return None
    size = FLAC_BLOCK_SIZES.get(size_code, int.from_bytes(header[after : after + size_bytes]) + 1)
    return number + size if header[1] & 1 else number * block_size + size


def _crc8(data: bytes) -> int:
    """The checksum of the header of a FLAC frame."""
    rest = 0
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = (rest << 1 ^ 0x07 if rest & 0x80 else rest << 1) & 0xFF
    return rest


FORMATS: dict[bytes, Callable[[BinaryIO, int], Fault]] = {
    b"RIFF": _wav_fault,
    b"RF64": _rf64_fault,
    b"FORM": _aiff_fault,
    b"riff": _w64_fault,
    b"caff": _caf_fault,
    b".snd": _au_fault,
    b"OggS": _ogg_fault,
    b"fLaC": _flac_fault,
}


def _is_chunk(file: BinaryIO, place: int, end: int) -> bool:
    """Whether chunks begin at a place that end where the file ends, and no sound."""
    after = place
    for name, begin, size in walk(file, place):
        after = begin + size + size % 2
        if not name.decode("latin-1").isprintable():
            return False
    return after == end


class PatchedFile(io.RawIOBase):
    """A file, some bytes of which read as others.

    Args:
        path: the file.
        patches: the others, by place.
    """

    def __init__(self, path: Path, patches: Patches) -> None:
        self._file = path.open("rb")
        self._patches = patches

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the current place, and return the number of bytes read."""
        begin = self._file.tell()
        view = memoryview(buffer).cast("B")
        count = self._file.readinto(view)
        for place, data in self._patches.items():
            for offset, byte in enumerate(data, place - begin):
                if 0 <= offset < count:
                    view[offset] = byte
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The current place in the file."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
