"""Whole recordings as arrays: found, read and written.

Waveforms are float32 in -1..1 with samples on the last axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from speech_enhancement.errors import UserError
from speech_enhancement.files.atomic import replacing
from speech_enhancement.files.headers import SoundFile, native_name
from speech_enhancement.signal.dsp import resample

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")
STREAM_BLOCK = 2**18


def find_audio_files(folder: Path, suffixes: Sequence[str] = AUDIO_SUFFIXES) -> list[Path]:
    """Audio files below `folder`, sorted by path; hidden ones are left out.

    Args:
        folder: where to look.
        suffixes: of the files, in lower case.

    Raises:
        UserError: the folder is missing, is a file, or holds no audio.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"No such folder: {folder}")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not files:
        raise UserError(f"No audio ({' '.join(suffixes)}) in {folder}")
    return files


def load_audio(path: Path, sample_rate: int | None = None) -> tuple[np.ndarray, int]:
    """Read a whole file as one mono waveform.

    Args:
        path: any file that libsndfile reads.
        sample_rate: Hz to resample to; the file's own by default.

    Returns:
        The waveform, float32 (samples,), and its rate in Hz.

    Raises:
        UserError: the file is missing, unreadable, empty, or holds NaN or infinite samples.
    """
    try:
        with SoundFile(path) as file:
            rate = file.samplerate
            blocks = list(file.blocks_of(STREAM_BLOCK))
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(f"Cannot read {path} as audio: {str(error).rstrip('.')}") from error
    if not blocks:
        raise UserError(f"No samples in {path}")
    samples = np.concatenate(blocks)
    if not np.isfinite(samples).all():
        raise UserError(f"NaN or infinite samples in {path}")
    waveform = samples.mean(axis=1)
    if sample_rate is None or sample_rate == rate:
        return waveform, rate
    return resample(waveform, rate, sample_rate), sample_rate


def stream_audio(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """Read a file as one mono waveform, block by block, so that its length costs no memory.

    Args:
        path: any file that libsndfile reads.
        sample_rate: Hz to resample to.

    Returns:
        Blocks of the waveform, float32 (samples,).

    Raises:
        UserError: the file is missing, unreadable, empty, or holds NaN or infinite samples.
    """
    try:
        with SoundFile(path) as file:
            stream = soxr.ResampleStream(file.samplerate, sample_rate, 1, "float32", quality="VHQ")
            same = file.samplerate == sample_rate
            n_samples = 0
            for samples in file.blocks_of(STREAM_BLOCK):
                if not np.isfinite(samples).all():
                    raise UserError(f"NaN or infinite samples in {path}")
                n_samples += len(samples)
                block = samples.mean(axis=1)
                yield block if same else stream.resample_chunk(block)
            if not n_samples:
                raise UserError(f"No samples in {path}")
            if not same:
                yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(f"Cannot read {path} as audio: {str(error).rstrip('.')}") from error


def save_audio(
    path: Path, waveform: np.ndarray, sample_rate: int, subtype: str | None = None
) -> None:
    """Write a waveform (samples,) or (samples, channels); the format follows the suffix.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    container = file_format(path)
    if subtype is None and path.suffix.lower() == ".opus":
        subtype = "OPUS"
    with replacing(path) as temporary:
        soundfile.write(
            native_name(temporary), waveform, sample_rate, subtype=subtype, format=container
        )


def file_format(path: Path) -> str:
    """libsndfile's name of the format that the suffix of `path` stands for.

    Raises:
        UserError: libsndfile cannot write that suffix.
    """
    suffix = path.suffix.lower().lstrip(".")
    name = {"oga": "OGG", "opus": "OGG", "aif": "AIFF"}.get(suffix, suffix.upper())
    if name == "RAW" or name not in soundfile.available_formats():
        raise UserError(
            f"The name of an audio file must end in one of {' '.join(AUDIO_SUFFIXES)}. "
            f"Received: {path}"
        )
    return name
