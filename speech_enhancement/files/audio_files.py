"""Recordings of any kind and length, read and written block by block.

libsndfile reads and writes wav, flac, ogg, opus, mp3, aiff and their relatives; PyAV, where it is
installed, reads the rest, see `containers`. Blocks are float32 (channels, samples).
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import atomic, audio_io, containers, id3_pictures, wav_chunks
from speech_enhancement.files.headers import SoundFile, native_name
from speech_enhancement.files.reproducible import make_reproducible
from speech_enhancement.registry import FORMATS

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".3gp", ".ts", ".mpg", ".mpeg")
SOUND_SUFFIXES = (".m4a", ".m4b", ".aac", ".mka", ".wma", ".amr", ".ac3", ".g722", ".gsm")
CONTAINER_SUFFIXES = (*SOUND_SUFFIXES, *VIDEO_SUFFIXES)
ENCODED_SUFFIXES = (".mp3", ".mp2", ".ogg", ".oga", ".opus")
FURTHER_SUFFIXES = (".aifc", ".snd", ".caf", ".w64", ".rf64", ".mp2", ".wv", ".voc")
RECORDING_SUFFIXES = (*audio_io.AUDIO_SUFFIXES, *FURTHER_SUFFIXES, *CONTAINER_SUFFIXES)
RAW_SUBTYPES = {
    "u8": "PCM_U8",
    "s8": "PCM_S8",
    "s16": "PCM_16",
    "s24": "PCM_24",
    "s32": "PCM_32",
    "f32": "FLOAT",
    "f64": "DOUBLE",
}
PCM_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
BLOCK_VALUES = 2**20
LARGEST_WAV = 2**32 - 2**16
PROBE_BYTES = 2**16
SYSTEM_ERROR = 2  # libsndfile's code for what the operating system refused
# Sample types that hold what is beyond full scale. What libsndfile compands or codes as differences
# wraps around there, and encoders such as LAME end the process far beyond it.
UNLIMITED = ("FLOAT", "DOUBLE")
ENCODED = ("VORBIS", "OPUS", "MPEG")
ID3_FORMATS = ("MP3", "MPEG")
LOUDEST_COMPANDED = 1.0 - 2.0**-15
# Which rates and how many channels formats hold that do not hold any, and what comes nearest.
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
HOLDS: dict[str, Callable[[int, int], bool]] = {
    ".mp3": lambda rate, channels: rate in MP3_RATES and channels <= 2,
    ".opus": lambda rate, channels: rate in OPUS_RATES,
    ".ogg": lambda rate, channels: rate <= 200_000,
    ".flac": lambda rate, channels: rate <= 655_350 and channels <= 8,
}
NEAREST = {
    ".mp3": (".ogg", ".flac", ".wav"),
    ".opus": (".ogg", ".flac", ".wav"),
    ".ogg": (".flac", ".wav"),
    ".flac": (".wav",),
}
HIGHEST_RAW_RATE = 2**31 - 1
WRITE_FRAMES = 2**16  # Vorbis takes a block's size from the stack


@dataclasses.dataclass(frozen=True)
class RawFormat:
    """Samples without a header: how to read them.

    Args:
        subtype: libsndfile's name of the sample type.
        sample_rate: Hz.
        channels: interleaved channels.
    """

    subtype: str
    sample_rate: int
    channels: int

    @classmethod
    def parse(cls, text: str) -> RawFormat:
        """Read `TYPE,RATE[,CHANNELS]`, as in `s16,48000,2`; little-endian, as in `s16le` too.

        Raises:
            UsageError: the text is something else.
        """
        name, *numbers = text.split(",")
        name = name.removesuffix("le")
        if name in RAW_SUBTYPES and len(numbers) in (1, 2) and all(n.isdecimal() for n in numbers):
            rate, channels = (*map(int, numbers), 1)[:2]
            if 0 < rate <= HIGHEST_RAW_RATE and channels:
                return cls(RAW_SUBTYPES[name], rate, channels)
        raise UsageError(
            f"`raw_format` must be TYPE,RATE[,CHANNELS] with TYPE one of {', '.join(RAW_SUBTYPES)},"
            f" as in s16,48000,2. Received: {text}"
        )

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        bits = {**PCM_BITS, "FLOAT": 32, "DOUBLE": 64}[self.subtype]
        return bits // 8 * self.channels

    def decode(self, data: bytes) -> np.ndarray:
        """Samples (channels, samples) of bytes."""
        if not data:
            return np.zeros((self.channels, 0), np.float32)
        file = soundfile.SoundFile(io.BytesIO(data), "r", **self.arguments())
        return file.read(dtype="float32", always_2d=True).T

    def encode(self, block: np.ndarray) -> bytes:
        """Bytes of samples (channels, samples)."""
        data = io.BytesIO()
        with soundfile.SoundFile(data, "w", **self.arguments()) as file:
            Writer(file).write(block)
            file.flush()
            return data.getvalue()

    def arguments(self) -> dict[str, Any]:
        """What `soundfile.SoundFile` needs to be told."""
        return {
            "samplerate": self.sample_rate,
            "channels": self.channels,
            "subtype": self.subtype,
            "endian": "LITTLE",
            "format": "RAW",
        }


@dataclasses.dataclass(frozen=True)
class SoundFormat:
    """How a recording is stored.

    Args:
        sample_rate: Hz.
        channels: number of channels.
        container, subtype: libsndfile's names; empty if only PyAV reads it.
        tags: title, artist and so on.
        chunks: what else a WAV file says.
        pictures: those of an MP3 file.
    """

    sample_rate: int
    channels: int
    container: str = ""
    subtype: str = ""
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    chunks: wav_chunks.Chunks = ()
    pictures: tuple[id3_pictures.Picture, ...] = ()


class Recording:
    """A file to read, from the beginning, as often as need be.

    Args:
        path: the file.
        raw: how to read it if it has no header.
        sound_track: which of several sounds in a container, from 1; the first by default.

    Attributes:
        notes: what a listener should know of it, a sentence each.

    Raises:
        UserError: it is missing, is no file, or nothing here can read it.
    """

    def __init__(
        self, path: Path, raw: RawFormat | None = None, sound_track: int | None = None
    ) -> None:
        self.path = path
        self._raw = raw
        check_regular_file(path)
        self._track: containers.Track | None = None
        self.notes: list[str] = []
        try:
            with self._open() as file:
                self.format = SoundFormat(
                    file.samplerate,
                    file.channels,
                    file.format,
                    file.subtype,
                    _tags(file),
                    wav_chunks.read_chunks(path),
                    id3_pictures.read_pictures(path) if file.format in ID3_FORMATS else (),
                )
                self.n_samples: int | None = file.length
                self.notes = [file.note] if file.note else []
            if sound_track not in (None, 1):
                raise UserError(f"{path} has 1 track of sound. Received: {sound_track}")
        except (soundfile.SoundFileError, OSError, ValueError) as error:
            self._track = _other_track(path, sound_track, error)
            track = self._track
            self.format = SoundFormat(
                track.rate, track.channels, subtype=track.subtype, tags=track.tags
            )
            self.n_samples = track.n_samples
            self.notes = list(track.notes)

    def blocks(self, begin: int = 0, end: int | None = None) -> Iterator[np.ndarray]:
        """Read the samples `begin` to `end` in blocks (channels, samples) of some seconds.

        Raises:
            UserError: the file is damaged.
        """
        size = max(1, BLOCK_VALUES // self.format.channels)
        track = self._track
        blocks = containers.read_track(self.path, track) if track else self._file_blocks(size)
        position = 0
        for block in blocks:
            stop = block.shape[1] if end is None else min(block.shape[1], end - position)
            piece = block[:, max(0, begin - position) : max(0, stop)]
            position += block.shape[1]
            if piece.shape[1]:
                yield piece
            if end is not None and position >= end:
                return

    def _open(self) -> SoundFile:
        """The file in libsndfile."""
        arguments = self._raw.arguments() if self._raw else {}
        return SoundFile(self.path, **arguments)

    def _file_blocks(self, size: int) -> Iterator[np.ndarray]:
        """All samples, through libsndfile."""
        try:
            with self._open() as file:
                for block in file.blocks_of(size):
                    yield block.T
        except (soundfile.SoundFileError, OSError) as error:
            raise containers.unreadable(self.path, error) from error


def _other_track(path: Path, number: int | None, refusal: Exception) -> containers.Track:
    """What PyAV finds in a file that libsndfile refused.

    Raises:
        UserError: nothing; for a file that libsndfile should read, what that says of it.
    """
    is_container = path.suffix.lower() in CONTAINER_SUFFIXES
    if not is_container and not containers.is_likely(path):
        raise containers.unreadable(path, refusal) from refusal
    try:
        return containers.find_track(path, number)
    except UserError as error:
        if is_container:
            raise
        raise containers.unreadable(path, refusal) from error


def is_risky(source: Path, target: Path, raw: RawFormat | None = None) -> bool:
    """Whether decoding or encoding is done by code that damaged files may crash.

    Args:
        source: the recording, by whose first bytes libsndfile chooses its decoder.
        target: the result, whose suffix names its encoder.
        raw: how the recording is read if it has no header.
    """
    return target.suffix.lower() in ENCODED_SUFFIXES or has_risky_decoder(source, raw)


def has_risky_decoder(source: Path, raw: RawFormat | None = None) -> bool:
    """Whether a recording is decoded by code that damaged files may crash; see `is_risky`."""
    if source.suffix.lower() in CONTAINER_SUFFIXES:
        return True
    try:
        check_regular_file(source)  # opening a pipe would wait for its writer
        with source.open("rb") as file:
            begin = file.read(4)
    except (OSError, UserError):
        return False
    is_mpeg = begin[:3] == b"ID3" or (begin[:1] == b"\xff" and begin[1:2] >= b"\xe0")
    return is_mpeg or begin == b"OggS" or (raw is None and _has_risky_codec(source))


def _has_risky_codec(path: Path) -> bool:
    """Whether a file of any name holds such a codec, or one that is left to PyAV."""
    if not containers.is_likely(path):
        return False
    try:
        with SoundFile(path) as file:
            return file.subtype.startswith(ENCODED)
    except UserError:
        return False
    except (soundfile.SoundFileError, OSError, ValueError):
        return True


def check_regular_file(path: Path) -> None:
    """Refuse what would block or is no file: pipes, devices, folders, loops of links.

    Raises:
        UserError: `path` is one of these, or is missing.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"Cannot read {path}: {reason}") from error
    if not stat.S_ISREG(mode):
        raise UserError(f"Cannot read {path}: it is not a file")


def _tags(file: soundfile.SoundFile) -> dict[str, str]:
    """Title, artist and so on, where there is something."""
    return {name: text for name, text in file.copy_metadata().items() if text}


def output_suffix(source: Path, raw: RawFormat | None, wanted: str | None) -> str:
    """Suffix of the output: the recording's own where libsndfile writes it, else `.wav`.

    Args:
        source: path of the recording.
        raw: how it is read if it has no header; its output has none either.
        wanted: one of `registry.FORMATS`, if the user asked for one.
    """
    if wanted is not None:
        return f".{wanted}"
    if raw is not None:
        return source.suffix
    try:
        audio_io.file_format(source)
    except UserError:
        return ".wav"
    return source.suffix


def output_format(path: Path, source: SoundFormat, n_samples: int) -> SoundFormat:
    """Container and sample type for `path`, as near to the source's as the container allows.

    Args:
        path: output, whose suffix names the container.
        source: format of the recording, its rate and channel count those of the output.
        n_samples: expected length; a wav beyond 4 GB becomes RF64.

    Raises:
        UserError: libsndfile cannot write that suffix, or not so much.
    """
    if source.container == "RAW" and path.suffix.lower().lstrip(".") not in FORMATS:
        return source
    container = audio_io.file_format(path)
    if container == "WAV" and source.container in ("WAVEX", "RF64"):
        container = source.container
    subtype = source.subtype
    if path.suffix.lower() == ".opus":
        subtype = "OPUS"
    elif not _is_writable(container, subtype):
        subtype = _nearest_subtype(container, subtype)
    bits = {**PCM_BITS, "DOUBLE": 64}.get(subtype, 32)
    if n_samples * source.channels * bits // 8 > LARGEST_WAV:
        if container in ("AIFF", "AU"):
            raise UserError(
                f"{path} would be larger than the 4 GB that {path.suffix} files hold; "
                "use --format rf64, w64, caf or flac"
            )
        container = "RF64" if container in ("WAV", "WAVEX") else container
    return dataclasses.replace(source, container=container, subtype=subtype)


def _is_writable(container: str, subtype: str) -> bool:
    """Whether libsndfile writes a sample type in a container."""
    if subtype.startswith("MPEG") and container != "MP3":
        return False  # it reads such a WAV file only
    return bool(subtype) and soundfile.check_format(container, subtype)


def fitting_suffix(path: Path, rate: int, channels: int) -> str:
    """Suffix of the format that is nearest to that of `path`, and holds a rate and channels.

    Args:
        path: a result.
        rate: Hz.
        channels: number of channels.
    """
    suffix = path.suffix.lower()
    if suffix in HOLDS and not HOLDS[suffix](rate, channels):
        return next(s for s in NEAREST[suffix] if s not in HOLDS or HOLDS[s](rate, channels))
    return path.suffix


def _nearest_subtype(container: str, subtype: str) -> str:
    """The container's sample type with as many bits as the source, else its usual one."""
    exact = ("PCM_24", "PCM_16") if subtype in ("PCM_24", "PCM_32", "FLOAT", "DOUBLE") else ()
    for candidate in exact:
        if soundfile.check_format(container, candidate):
            return candidate
    return soundfile.default_subtype(container) or ""


class Writer:
    """An audio file in the making; see `writing`.

    Integer samples of up to 24 bits are rounded to the grid that they were read from, so that what
    was not changed is not changed.
    """

    def __init__(self, file: soundfile.SoundFile) -> None:
        self._file = file
        self._bits = PCM_BITS.get(file.subtype)
        self._limit = _limit(file.subtype)
        self.clipped = 0

    def write(self, block: np.ndarray) -> None:
        """Append a block (channels, samples)."""
        for begin in range(0, block.shape[1], WRITE_FRAMES):
            self._write(block[:, begin : begin + WRITE_FRAMES])

    def _write(self, block: np.ndarray) -> None:
        """Append a block that no encoder finds too long."""
        if self._bits is None:
            limited = np.clip(block.T, -self._limit, self._limit)
            self.clipped += int(np.count_nonzero(limited != block.T))
            self._file.write(limited)
            return
        scaled = np.rint(block.T * np.float64(2 ** (self._bits - 1)))
        limit = 2 ** (self._bits - 1)
        self.clipped += int(np.count_nonzero((scaled < -limit) | (scaled > limit - 1)))
        whole = np.clip(scaled, -limit, limit - 1).astype(np.int64) << (32 - self._bits)
        self._file.write(whole.astype(np.int32))


def _limit(subtype: str) -> float:
    """The loudest sample that a sample type takes."""
    if subtype in UNLIMITED:
        return np.inf
    return 1.0 if subtype.startswith(ENCODED) else LOUDEST_COMPANDED


@contextlib.contextmanager
def writing(path: Path, sound_format: SoundFormat) -> Iterator[Writer]:
    """A writer whose file appears at `path` if the block succeeds, and else does not.

    Raises:
        UserError: the folder cannot be written, the disk is full, or the container does not take
            such a rate or channel count.
    """
    with atomic.replacing(path) as temporary:
        try:
            with _create(temporary, path, sound_format) as file:
                for name, text in sound_format.tags.items():
                    with contextlib.suppress(soundfile.SoundFileError, AttributeError):
                        setattr(file, name, text)
                yield Writer(file)
        except soundfile.SoundFileError:
            _try_to_append(temporary)
            raise
        make_reproducible(temporary)
        if sound_format.container in ("WAV", "WAVEX"):
            wav_chunks.append_chunks(temporary, sound_format.chunks)
        if sound_format.container in ID3_FORMATS:
            id3_pictures.add_pictures(temporary, sound_format.pictures)


def _create(temporary: Path, path: Path, sound_format: SoundFormat) -> soundfile.SoundFile:
    """A new file in libsndfile, which becomes `path`."""
    rate, channels = sound_format.sample_rate, sound_format.channels
    kind = {"subtype": sound_format.subtype, "format": sound_format.container}
    try:
        return soundfile.SoundFile(native_name(temporary), "w", rate, channels, **kind)
    except soundfile.LibsndfileError as error:
        if error.code == SYSTEM_ERROR:
            raise
        raise UserError(
            f"Cannot write {path}: {path.suffix} files cannot hold {channels} channels at {rate} Hz"
        ) from error


def _try_to_append(path: Path) -> None:
    """Raise the system's error if the file cannot grow, which libsndfile does not report."""
    with path.open("ab") as file:
        file.write(bytes(PROBE_BYTES))
