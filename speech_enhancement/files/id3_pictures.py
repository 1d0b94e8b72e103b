"""The pictures in the ID3 tag of an MP3 file, as of an album's cover, which libsndfile loses.

Reference: ID3v2.3.0 and ID3v2.4.0 (M. Nilsson, 1999 and 2000), frame `APIC`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

HEADER_BYTES = 10
LARGEST_TAG = 2**24
UNSYNCHRONISED, EXTENDED = 0x80, 0x40  # flags of a tag
# Flags of a frame, by version: compressed or encrypted, grouped, unsynchronised, with a length.
UNREADABLE = {3: 0xC0, 4: 0x0C}
GROUPED = {3: 0x20, 4: 0x40}
FRAME_UNSYNCHRONISED, FRAME_LENGTH = 0x02, 0x01
WIDE_ENCODINGS = (1, 2)  # UTF-16


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture in the tags of an MP3 file.

    Args:
        mime: such as `image/jpeg`.
        kind: number of what it shows, 3 for the front cover.
        data: the picture's file.
    """

    mime: bytes
    kind: int
    data: bytes

    def frame(self, version: int) -> bytes:
        """The frame of a tag."""
        body = b"\0" + self.mime + b"\0" + bytes([self.kind]) + b"\0" + self.data
        size = _syncsafe(len(body)) if version == 4 else len(body).to_bytes(4, "big")
        return b"APIC" + size + b"\0\0" + body


def read_pictures(path: Path) -> tuple[Picture, ...]:
    """The pictures of a file; none where the tag is missing, damaged or of another version."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
        size = _tag_size(header)
        if not 0 < size <= LARGEST_TAG:
            return ()
        tag = file.read(size)
    version, flags = header[3], header[5]
    if flags & UNSYNCHRONISED and version == 3:
        tag = tag.replace(b"\xff\0", b"\xff")
    if flags & EXTENDED:
        tag = tag[_number(tag[:4], version) + (4 if version == 3 else 0) :]
    pictures = (_picture(body) for body in _bodies(tag, version))
    return tuple(picture for picture in pictures if picture)


def add_pictures(path: Path, pictures: Sequence[Picture]) -> None:
    """Put pictures into the tag of an MP3 file, or a tag with them before its sound."""
    if not pictures:
        return
    data = path.read_bytes()
    size = _tag_size(data[:HEADER_BYTES])
    version = data[3] if size else 3
    old = data[HEADER_BYTES : HEADER_BYTES + size]
    content = b"".join(picture.frame(version) for picture in pictures) + old
    header = b"ID3" + bytes([version, 0, 0]) + _syncsafe(len(content))
    rest = data[HEADER_BYTES + size :] if size else data
    path.write_bytes(header + content + rest)


def _tag_size(header: bytes) -> int:
    """Bytes of a tag after its header; 0 if it is none that this module reads."""
    if len(header) < HEADER_BYTES or header[:3] != b"ID3" or header[3] not in (3, 4):
        return 0
    return _number(header[6:10], 4)


def _number(data: bytes, version: int) -> int:
    """A size: of 7 bits a byte since version 4."""
    return sum(byte << (7 if version == 4 else 8) * k for k, byte in enumerate(reversed(data)))


def _syncsafe(number: int) -> bytes:
    """A size in 4 bytes of 7 bits."""
    return bytes(number >> 7 * k & 0x7F for k in (3, 2, 1, 0))


def _bodies(tag: bytes, version: int) -> Iterator[bytes]:
    """What the frames of pictures hold."""
    place = 0
    while tag[place : place + 1].isalpha() and place + HEADER_BYTES <= len(tag):
        name, flags = tag[place : place + 4], tag[place + 9]
        size = _number(tag[place + 4 : place + 8], version)
        body = tag[place + HEADER_BYTES : place + HEADER_BYTES + size]
        place += HEADER_BYTES + size
        if name != b"APIC" or len(body) < size or flags & UNREADABLE[version]:
            continue
        body = body[1:] if flags & GROUPED[version] else body
        if version == 4:
            body = body[4:] if flags & FRAME_LENGTH else body
            body = body.replace(b"\xff\0", b"\xff") if flags & FRAME_UNSYNCHRONISED else body
        yield body


def _picture(body: bytes) -> Picture | None:
    """The picture in a frame, without its description; none if it is damaged."""
    encoding, rest = body[:1], body[1:]
    mime, nul, rest = rest.partition(b"\0")
    if not (encoding and nul and rest):
        return None
    kind, rest = rest[0], rest[1:]
    width = 2 if encoding[0] in WIDE_ENCODINGS else 1
    end = next((k for k in range(0, len(rest), width) if not any(rest[k : k + width])), None)
    if end is None or len(mime) > 64:
        return None
    return Picture(mime, kind, rest[end + width :])
