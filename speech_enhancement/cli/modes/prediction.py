"""--mode prediction: denoise recordings, each of them wholly or not at all."""

from __future__ import annotations

import argparse

from speech_enhancement import places
from speech_enhancement.cli import args, process
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files.audio_files import RawFormat
from speech_enhancement.inference import network_files
from speech_enhancement.prediction.batch import BatchSettings
from speech_enhancement.prediction.denoising import denoise_files
from speech_enhancement.prediction.jobs import Destination
from speech_enhancement.prediction.one_file import FileOptions
from speech_enhancement.prediction.pipe import denoise_pipe
from speech_enhancement.prediction.summary import summary_table

DEMO = places.DEMO_DATA


def run(options: argparse.Namespace) -> int:
    """Denoise what the options name; 1 if any recording failed."""
    settings, inputs = settings_of(options), inputs_of(options)
    if args.PIPE in inputs:
        check_pipe(inputs)
        denoise_pipe(*process.pipe(), settings, suffix_of_pipe(options))
        return 0
    is_demo = not inputs
    if is_demo:
        inputs = demonstration(options)
    denoised = denoise_files(
        inputs,
        destination_of(options),
        settings,
        options.recursive,
        options.jobs,
        DEMO / "clean" if is_demo else None,
        options.cluster,
    )
    print(summary_table(denoised.jobs, denoised.records))
    return 1 if denoised.has_failures else 0


def settings_of(options: argparse.Namespace) -> BatchSettings:
    """The network, and what is done to all recordings."""
    file_options = FileOptions(
        raw=raw_of(options),
        mono=options.mono,
        start_s=options.start,
        end_s=options.end,
        keep_level=options.keep_level,
        normalise_lufs=options.normalise_lufs,
        save_noise=options.save_noise,
        plot=options.plot,
        sound_track=options.sound_track,
    )
    return BatchSettings(
        network_files.stem_in(options.weights_folder, options.name_model),
        options.runtime,
        options.threads,
        options.strength,
        options.max_attenuation_db,
        options.window_overlap,
        file_options,
        options.overwrite,
    )


def raw_of(options: argparse.Namespace) -> RawFormat | None:
    """How recordings without a header are read."""
    return RawFormat.parse(options.raw_format) if options.raw_format else None


def inputs_of(options: argparse.Namespace) -> list[str]:
    """All recordings, folders and patterns that the options name.

    Raises:
        UserError: the folder of recordings is missing.
    """
    named, folder = options.audio_input_prediction, options.audio_dir_prediction
    if folder is not None and not folder.is_dir():
        raise UserError(f"No such folder: {folder}")
    if folder is not None:
        named = [str(folder / name) for name in named] or [str(folder)]
    return [*options.inputs, *named]


def demonstration(options: argparse.Namespace) -> list[str]:
    """The recordings of a checkout, for a command that names none; their results lie beside them.

    Raises:
        UsageError: this is no checkout.
    """
    if not DEMO.is_dir():
        raise UsageError(f"There is nothing to denoise; try: {places.COMMAND} recording.wav")
    options.dir_save_prediction = options.dir_save_prediction or DEMO / "predictions"
    return [str(DEMO / "noisy")]


def destination_of(options: argparse.Namespace) -> Destination:
    """Where results go."""
    return Destination(
        folder=options.dir_save_prediction,
        suffix=options.suffix,
        audio_format=options.format,
        raw=raw_of(options),
        name=options.audio_output_prediction,
    )


def check_pipe(inputs: list[str]) -> None:
    """Refuse other inputs beside a pipe.

    Raises:
        UsageError: there are other inputs.
    """
    if len(inputs) > 1:
        raise UsageError(f"The input - must be the only input. Received: {' '.join(inputs)}")


def suffix_of_pipe(options: argparse.Namespace) -> str:
    """Suffix of what goes to standard output: WAV, unless raw samples came in."""
    return f".{options.format or ('raw' if options.raw_format else 'wav')}"
