"""Recordings of any kind and length, read and written block by block.

libsndfile reads and writes wav, flac, ogg, opus, mp3, aiff and their relatives; PyAV, where it is
installed, reads m4a, webm and the sound of videos. Blocks are float32 (channels, samples).
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import atomic_files
import data_tools
import wav_chunks
from errors import UsageError, UserError
from registry import FORMATS
from reproducible import make_reproducible
from sound_files import SoundFile, native_name

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".3gp", ".ts", ".mpg", ".mpeg")
SOUND_SUFFIXES = (".m4a", ".m4b", ".aac", ".mka", ".wma", ".amr", ".ac3")
CONTAINER_SUFFIXES = (*SOUND_SUFFIXES, *VIDEO_SUFFIXES)
ENCODED_SUFFIXES = (".mp3", ".mp2", ".ogg", ".oga", ".opus")
FURTHER_SUFFIXES = (".aifc", ".snd", ".caf", ".w64", ".rf64", ".mp2", ".wv", ".voc")
RECORDING_SUFFIXES = (*data_tools.AUDIO_SUFFIXES, *FURTHER_SUFFIXES, *CONTAINER_SUFFIXES)
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
# What PyAV decodes to as libsndfile stores it, by codec or else by sample type; the rest is lossy.
CODEC_SUBTYPES = {"pcm_s32le": "PCM_32", "pcm_f32le": "FLOAT", "pcm_f64le": "DOUBLE"}
DECODED_SUBTYPES = {"s32": "PCM_24"}
BLOCK_VALUES = 2**20
LARGEST_WAV = 2**32 - 2**16
PROBE_BYTES = 2**16
SYSTEM_ERROR = 2  # libsndfile's code for what the operating system refused
# Sample types that hold what is beyond full scale. What libsndfile compands or codes as differences
# wraps around there, and encoders such as LAME end the process far beyond it.
UNLIMITED = ("FLOAT", "DOUBLE")
ENCODED = ("VORBIS", "OPUS", "MPEG")
LOUDEST_COMPANDED = 1.0 - 2.0**-15
HIGHEST_RAW_RATE = 2**31 - 1
WRITE_FRAMES = 2**16  # Vorbis takes a block's size from the stack
OWN_TAGS = ("title", "artist", "album", "comment", "date", "genre", "copyright", "tracknumber")


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
    """

    sample_rate: int
    channels: int
    container: str = ""
    subtype: str = ""
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    chunks: wav_chunks.Chunks = ()


class Recording:
    """A file to read, from the beginning, as often as need be.

    Args:
        path: the file.
        raw: how to read it if it has no header.

    Raises:
        UserError: it is missing, is no file, or nothing here can read it.
    """

    def __init__(self, path: Path, raw: RawFormat | None = None) -> None:
        self.path = path
        self._raw = raw
        check_regular_file(path)
        self._is_container = False
        self.note = ""
        try:
            with self._open() as file:
                self.format = SoundFormat(
                    file.samplerate,
                    file.channels,
                    file.format,
                    file.subtype,
                    _tags(file),
                    wav_chunks.read_chunks(path),
                )
                self.n_samples: int | None = file.length
                self.note = file.note
        except (soundfile.SoundFileError, OSError, ValueError) as error:
            if path.suffix.lower() not in CONTAINER_SUFFIXES:
                raise _unreadable(path, error) from error
            self._is_container = True
            self.format, self.n_samples = _container_format(path)

    def blocks(self, begin: int = 0, end: int | None = None) -> Iterator[np.ndarray]:
        """Read the samples `begin` to `end` in blocks (channels, samples) of some seconds.

        Raises:
            UserError: the file is damaged.
        """
        size = max(1, BLOCK_VALUES // self.format.channels)
        blocks = self._container_blocks() if self._is_container else self._file_blocks(size)
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
            raise _unreadable(self.path, error) from error

    def _container_blocks(self) -> Iterator[np.ndarray]:
        """All samples, through PyAV."""
        av = _import_av(self.path)
        with _av_errors(self.path), av.open(self.path) as container:
            resampler = av.AudioResampler(format="fltp", rate=self.format.sample_rate)
            for frame in container.decode(audio=0):
                yield from (part.to_ndarray() for part in resampler.resample(frame))
            yield from (part.to_ndarray() for part in resampler.resample(None))


def is_risky(source: Path, target: Path) -> bool:
    """Whether decoding or encoding is done by code that damaged files may crash.

    Args:
        source: the recording, by whose first bytes libsndfile chooses its decoder.
        target: the result, whose suffix names its encoder.
    """
    suffixes = source.suffix.lower(), target.suffix.lower()
    if suffixes[0] in CONTAINER_SUFFIXES or suffixes[1] in ENCODED_SUFFIXES:
        return True
    try:
        check_regular_file(source)  # opening a pipe would wait for its writer
        with source.open("rb") as file:
            begin = file.read(4)
    except (OSError, UserError):
        return False
    is_mpeg = begin[:3] == b"ID3" or (begin[:1] == b"\xff" and begin[1:2] >= b"\xe0")
    return is_mpeg or begin == b"OggS"


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


def _unreadable(path: Path, error: Exception) -> UserError:
    """The sentence for a file that a decoder refused."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    reason = text.strip().rstrip(".:") or "its data is damaged"
    return UserError(f"Cannot read {path} as audio: {reason}")


def _tags(file: soundfile.SoundFile) -> dict[str, str]:
    """Title, artist and so on, where there is something."""
    return {name: text for name, text in file.copy_metadata().items() if text}


def _import_av(path: Path) -> Any:
    """PyAV, which is optional."""
    try:
        import av
        import av.error
    except ImportError as error:
        raise UserError(
            f"Cannot read {path}: {path.suffix} files need `pip install -r requirements-extra.txt`"
        ) from error
    return av


def _container_format(path: Path) -> tuple[SoundFormat, int | None]:
    """Format of the first sound in a container, and its samples where the container tells."""
    av = _import_av(path)
    with _av_errors(path), av.open(path) as container:
        if not container.streams.audio:
            raise UserError(f"No sound in {path}")
        stream = container.streams.audio[0]
        tags = {k.lower(): v for k, v in container.metadata.items()}
        seconds = container.duration and container.duration / av.time_base
        sound_format = SoundFormat(
            stream.rate,
            stream.channels,
            subtype=_decoded_subtype(stream),
            tags={k: tags[k] for k in OWN_TAGS if k in tags},
        )
        return sound_format, seconds and round(seconds * stream.rate)


@contextlib.contextmanager
def _av_errors(path: Path) -> Iterator[None]:
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
        raise _unreadable(path, error) from error


def _decoded_subtype(stream: Any) -> str:
    """The sample type that loses nothing of a lossless sound in a container; else empty."""
    by_type = DECODED_SUBTYPES.get(stream.format.packed.name, "")
    return CODEC_SUBTYPES.get(stream.codec_context.name, by_type)


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
        data_tools.file_format(source)
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
    container = data_tools.file_format(path)
    if container == "WAV" and source.container in ("WAVEX", "RF64"):
        container = source.container
    subtype = source.subtype
    if path.suffix.lower() == ".opus":
        subtype = "OPUS"
    elif not subtype or not soundfile.check_format(container, subtype):
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
    with atomic_files.replacing(path) as temporary:
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
            f"Cannot write {path}: {path.suffix} takes no {channels} channels at {rate} Hz"
        ) from error


def _try_to_append(path: Path) -> None:
    """Fail as the system does when a file cannot grow, which libsndfile keeps to itself."""
    with path.open("ab") as file:
        file.write(bytes(PROBE_BYTES))
