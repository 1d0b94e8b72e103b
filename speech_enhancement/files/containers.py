"""Sound out of what PyAV reads: m4a, webm, videos, and WAV files of codecs that libsndfile lacks.

Only formats that hold their own sound are opened, so that a file which lists others (a playlist)
leads nowhere, and nothing but files is read.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from speech_enhancement import places
from speech_enhancement.errors import UserError

FORMATS = (
    *("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv", "mpegts", "mpeg", "mpegvideo"),
    *("wav", "w64", "aiff", "au", "caf", "voc", "ogg", "flac", "mp3", "aac", "ac3", "eac3", "dts"),
    *("amr", "amrnb", "amrwb", "asf", "wv", "ape", "tta", "g722", "g726", "g726le", "gsm"),
)
OPTIONS = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
# What PyAV decodes to as libsndfile stores it, by codec or else by sample type; the rest is lossy.
CODEC_SUBTYPES = {"pcm_s32le": "PCM_32", "pcm_f32le": "FLOAT", "pcm_f64le": "DOUBLE"}
DECODED_SUBTYPES = {"s32": "PCM_24"}
OWN_TAGS = ("title", "artist", "album", "comment", "date", "genre", "copyright", "tracknumber")
# How files begin that PyAV may read, whatever their names say; MPEG-4 has it 4 bytes later.
BEGINNINGS = (
    *(b"RIFF", b"RF64", b"riff", b"FORM", b".snd", b"caff", b"fLaC", b"OggS", b"ID3", b"ftyp"),
    *(b"\x1aE\xdf\xa3", b"0&\xb2u", b"#!AMR", b"MAC ", b"wvpk", b"TTA1", b"FLV", b"\xff"),
)
# Silence in front of a sound that begins later than its picture, at least and at most, and by how
# much one that begins earlier is worth a word, which is more than coders need to begin; seconds.
SHORTEST_DELAY_S, LONGEST_DELAY_S, SHORTEST_LEAD_S = 0.005, 3600.0, 0.1
SILENCE = 2**16  # samples at once


@dataclasses.dataclass(frozen=True)
class Track:
    """One of the sounds in a container.

    Args:
        number: which of them, from 1.
        rate: Hz.
        channels: number of channels.
        subtype: the sample type that loses nothing of a lossless sound; empty for others.
        tags: title, artist and so on.
        n_samples: length with the silence in front, where the container tells.
        delay: samples by which it begins later than the picture.
        notes: what a listener should know, a sentence each.
    """

    number: int
    rate: int
    channels: int
    subtype: str
    tags: dict[str, str]
    n_samples: int | None
    delay: int
    notes: tuple[str, ...]


def is_likely(path: Path) -> bool:
    """Whether a file begins as those do that PyAV reads."""
    with path.open("rb") as file:
        begin = file.read(12)
    return begin.startswith(BEGINNINGS) or begin[4:].startswith(BEGINNINGS)


def find_track(path: Path, number: int | None = None) -> Track:
    """Read the properties of one sound track of a container.

    Args:
        path: the file.
        number: which of them, from 1; the first by default.

    Raises:
        UserError: PyAV is missing or cannot read the file, or there is no such sound.
    """
    av = _import(path)
    with _errors(path), av.open(str(path.absolute()), options=OPTIONS) as container:
        streams = container.streams.audio
        if not streams:
            raise UserError(f"No sound in {path}")
        if (number or 1) > len(streams):
            raise UserError(f"{path} has {_tracks(len(streams))}. Received: {number}")
        stream = streams[(number or 1) - 1]
        delay_s = _delay_s(container, stream)
        seconds = container.duration and container.duration / av.time_base
        tags = {k.lower(): v for k, v in container.metadata.items()}
        return Track(
            number or 1,
            stream.rate,
            stream.channels,
            _subtype(stream),
            {k: tags[k] for k in OWN_TAGS if k in tags},
            seconds and round(seconds * stream.rate),
            round(max(0.0, delay_s) * stream.rate),
            tuple(_notes(len(streams), number, delay_s)),
        )


def read_track(path: Path, track: Track) -> Iterator[np.ndarray]:
    """All samples of a sound in blocks (channels, samples), after silence if it begins late.

    Raises:
        UserError: the file is damaged.
    """
    for begin in range(0, track.delay, SILENCE):
        yield np.zeros((track.channels, min(SILENCE, track.delay - begin)), np.float32)
    av = _import(path)
    with _errors(path), av.open(str(path.absolute()), options=OPTIONS) as container:
        resampler = av.AudioResampler(format="fltp", rate=track.rate)
        for frame in container.decode(audio=track.number - 1):
            yield from (part.to_ndarray() for part in resampler.resample(frame))
        yield from (part.to_ndarray() for part in resampler.resample(None))


def _tracks(count: int) -> str:
    """The number of sound tracks, in words."""
    return f"{count} {'track' if count == 1 else 'tracks'} of sound"


def _notes(n_tracks: int, number: int | None, delay_s: float) -> Iterator[str]:
    """Notes on which sound track was chosen, and on how it was changed."""
    if n_tracks > 1 and number is None:
        yield f"it has {_tracks(n_tracks)}; the first was taken (--sound_track takes another)"
    if delay_s > 0.0:
        yield f"its sound begins {delay_s:.3f} s after its picture, and so does the result"
    if delay_s < 0.0:
        yield f"its sound begins {-delay_s:.3f} s before its picture, and the result with the sound"


def _delay_s(container: Any, stream: Any) -> float:
    """Seconds by which a sound begins later than the picture; 0 without one that moves.

    Below 0 where the sound begins first.
    """
    pictures = [
        float(video.start_time * video.time_base)
        for video in container.streams.video
        if video.start_time is not None and "attached_pic" not in str(video.disposition)
    ]
    if not pictures or stream.start_time is None:
        return 0.0
    delay_s = float(stream.start_time * stream.time_base) - min(pictures)
    is_late = SHORTEST_DELAY_S <= delay_s <= LONGEST_DELAY_S
    return delay_s if is_late or delay_s <= -SHORTEST_LEAD_S else 0.0


def _import(path: Path) -> Any:
    """PyAV, which is optional."""
    try:
        import av
        import av.error
    except ImportError as error:
        raise UserError(
            f"Cannot read {path}: {path.suffix} files need `{places.install_command('extra')}`"
        ) from error
    return av


def unreadable(path: Path, error: Exception) -> UserError:
    """The sentence for a file that a decoder refused."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    reason = text.strip().rstrip(".:") or "its data is damaged"
    return UserError(f"Cannot read {path} as audio: {reason}")


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    """One sentence in place of whatever PyAV raises at a damaged file, which is of many kinds.

    Raises:
        UserError: always in place of another error.
    """
    try:
        yield
    except UserError:
        raise
    except (AttributeError, UnicodeError) as error:  # about PyAV, and not about the file
        raise UserError(f"Cannot read {path} as audio: its data is damaged") from error
    except Exception as error:
        raise unreadable(path, error) from error


def _subtype(stream: Any) -> str:
    """The sample type that loses nothing of a lossless sound; else empty."""
    by_type = DECODED_SUBTYPES.get(stream.format.packed.name, "")
    return CODEC_SUBTYPES.get(stream.codec_context.name, by_type)
