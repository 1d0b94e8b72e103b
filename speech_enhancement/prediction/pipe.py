"""Denoises standard input to standard output.

Sound that has a header, or has to be read twice, is kept in a temporary file until it is
complete. Raw samples for a network that streams come out as they go in:

    arecord -t raw -f S16_LE -r 16000 | python main.py - --raw_format s16,16000
"""

from __future__ import annotations

import functools
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from speech_enhancement.errors import UserError, printable
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.live.pipe import denoise_samples
from speech_enhancement.prediction.one_file import FileOptions, Report, denoise_file, fitting_target

Denoise = Callable[[Path, Path], Report]


def denoise_pipe(
    enhancer: Enhancer,
    source: BinaryIO,
    sink: BinaryIO,
    options: FileOptions,
    suffix: str,
    denoise: Denoise | None = None,
) -> None:
    """Denoise one recording.

    Args:
        enhancer: the network and its settings.
        source: where the recording comes from, to its end.
        sink: where the result goes.
        options: what else to do; a pipe has no place for noise and pictures.
        suffix: that of a file such as the result.
        denoise: does so from a file to another; `one_file` by default.

    Raises:
        UserError: the sound cannot be read or denoised.
    """
    raw = options.raw
    if raw and enhancer.card.streaming and options == FileOptions(raw=raw) and suffix == ".raw":
        stream = enhancer.stream(raw.sample_rate, raw.channels, channel_axis=0)
        denoise_samples(stream, source, sink, raw)
    else:
        here = functools.partial(denoise_file, enhancer, options=options)
        _denoise_whole(denoise or here, source, sink, options, suffix)


def _denoise_whole(
    denoise: Denoise, source: BinaryIO, sink: BinaryIO, options: FileOptions, suffix: str
) -> None:
    """By way of files."""
    with tempfile.TemporaryDirectory() as folder:
        noisy, clean = Path(folder, "stdin"), Path(folder, f"stdout{suffix}")
        with noisy.open("wb") as file:
            shutil.copyfileobj(source, file)
        try:
            clean, notes = fitting_target(noisy, clean, options)
            report = denoise(noisy, clean)
        except UserError as error:
            raise UserError(str(error).replace(str(noisy), "standard input")) from error
        clipped = [f"{report.clipped} samples clipped"] if report.clipped else []
        for note in (*notes, *clipped, *report.notes):
            print(f"note: standard input: {printable(note)}", file=sys.stderr)
        with clean.open("rb") as file:
            shutil.copyfileobj(file, sink)
