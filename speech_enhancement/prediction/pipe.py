"""Denoises standard input to standard output.

Sound that has a header, or has to be read twice, is kept in a temporary file until it is
complete. Raw samples for a network that streams come out as they go in:

    arecord -t raw -f S16_LE -r 16000 | python main.py - --raw_format s16,16000
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

from speech_enhancement.errors import UserError, printable
from speech_enhancement.files.audio_files import is_risky
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.live.pipe import denoise_samples
from speech_enhancement.prediction.batch import BatchSettings, denoise_apart
from speech_enhancement.prediction.one_file import FileOptions, Report, denoise_file, fitting_target


def denoise_pipe(
    source: BinaryIO, sink: BinaryIO, settings: BatchSettings | None = None, suffix: str = ".wav"
) -> None:
    """Denoise one recording.

    Args:
        source: where the recording comes from, to its end.
        sink: where the result goes.
        settings: the network and what is done; a pipe has no place for noise and pictures.
        suffix: the format of the result, as the suffix of a file; `.raw` for samples alone.

    Raises:
        UserError: the sound cannot be read or denoised, or there is no such network.
    """
    settings = settings or BatchSettings()
    enhancer, options = settings.load(), settings.file_options
    raw = options.raw
    if raw and enhancer.card.streaming and options == FileOptions(raw=raw) and suffix == ".raw":
        stream = enhancer.stream(raw.sample_rate, raw.channels, channel_axis=0)
        denoise_samples(stream, source, sink, raw)
    else:
        _denoise_whole(enhancer, source, sink, settings, suffix)


def _denoise_whole(
    enhancer: Enhancer, source: BinaryIO, sink: BinaryIO, settings: BatchSettings, suffix: str
) -> None:
    """Denoise by way of files.

    Raises:
        UserError: the sound cannot be read or denoised.
    """
    with tempfile.TemporaryDirectory() as folder:
        noisy, clean = Path(folder, "stdin"), Path(folder, f"stdout{suffix}")
        with noisy.open("wb") as file:
            shutil.copyfileobj(source, file)
        try:
            clean, notes = fitting_target(noisy, clean, settings.file_options)
            report = _denoise_file(enhancer, noisy, clean, settings)
        except UserError as error:
            raise UserError(str(error).replace(str(noisy), "standard input")) from error
        clipped = [f"{report.clipped} samples clipped"] if report.clipped else []
        for note in (*notes, *clipped, *report.notes):
            print(f"note: standard input: {printable(note)}", file=sys.stderr)
        with clean.open("rb") as file:
            shutil.copyfileobj(file, sink)


def _denoise_file(
    enhancer: Enhancer, source: Path, target: Path, settings: BatchSettings
) -> Report:
    """Denoise a file, in a process of its own where a damaged one can crash it."""
    if is_risky(source, target, settings.file_options.raw):
        return denoise_apart(source, target, settings)
    return denoise_file(enhancer, source, target, settings.file_options)
