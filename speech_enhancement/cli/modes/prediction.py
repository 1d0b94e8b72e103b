"""--mode prediction: denoise recordings, each of them wholly or not at all."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

from speech_enhancement import places
from speech_enhancement.cli import args, process
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import atomic, audio_io
from speech_enhancement.files.audio_files import RawFormat, is_risky
from speech_enhancement.inference import network_files, runtime
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.prediction.batch import BatchSettings, denoise_apart, denoise_jobs
from speech_enhancement.prediction.jobs import (
    FAILED,
    Destination,
    Job,
    Record,
    find_jobs,
    refuse_collisions,
)
from speech_enhancement.prediction.one_file import FileOptions, Report, denoise_file, result_paths
from speech_enhancement.prediction.pipe import Denoise, denoise_pipe
from speech_enhancement.prediction.summary import check_summary, save_summary, summary_table

DEMO = places.DEMO_DATA


def run(options: argparse.Namespace) -> int:
    """Denoise what the options name; 1 if any recording failed."""
    settings = settings_of(options)
    inputs = inputs_of(options)
    if args.PIPE in inputs:
        check_pipe(inputs)
        pipe, enhancer = process.pipe(), settings.load()
        suffix, denoise = suffix_of_pipe(options), safely(settings, enhancer)
        denoise_pipe(enhancer, *pipe, settings.file_options, suffix, denoise)
        return 0
    is_demo = not inputs
    if is_demo:
        check_demo()
        inputs, options.dir_save_prediction = [str(DEMO / "noisy")], results_of_demo(options)
    jobs = find_jobs(inputs, destination_of(options), options.recursive)
    refuse_collisions(
        (job.source, path)
        for job in jobs
        for path in result_paths(job.target, settings.file_options)
    )
    if options.dir_save_prediction and not options.overwrite:
        check_summary(options.dir_save_prediction)
    with no_partial_files({job.target.parent for job in jobs}):
        records = denoise_jobs(jobs, settings, options.jobs)
    if is_demo:
        for job, record in zip(jobs, records, strict=True):
            record |= improvement(job)
    print(summary_table(jobs, records))
    if options.dir_save_prediction:
        save_summary(options.dir_save_prediction, records)
    return 1 if any(record["status"] == FAILED for record in records) else 0


@contextlib.contextmanager
def no_partial_files(folders: set[Path]) -> Iterator[None]:
    """Remove what killed processes left: those of an earlier run, and those of this one."""
    for folder in folders:
        atomic.remove_partial_files(folder)
    try:
        yield
    finally:
        for folder in folders:
            atomic.remove_partial_files(folder, untouched_s=0.0)


def settings_of(options: argparse.Namespace) -> BatchSettings:
    """What all recordings share."""
    threads = options.threads or runtime.available_threads()
    return BatchSettings(
        stem=network_files.stem_in(options.weights_folder, options.name_model),
        runtime=options.runtime,
        threads=max(1, threads // options.jobs),
        strength=options.strength,
        max_attenuation_db=options.max_attenuation_db,
        file_options=file_options_of(options),
        overwrite=options.overwrite,
    )


def file_options_of(options: argparse.Namespace) -> FileOptions:
    """What is done to each recording.

    Raises:
        UsageError: nothing lies between start and end.
    """
    if options.end is not None and options.end <= options.start:
        raise UsageError(
            f"`end` must be after `start` ({options.start:g} s). Received: {options.end:g} s"
        )
    return FileOptions(
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


def raw_of(options: argparse.Namespace) -> RawFormat | None:
    """How recordings without a header are read."""
    return RawFormat.parse(options.raw_format) if options.raw_format else None


def inputs_of(options: argparse.Namespace) -> list[str]:
    """All recordings, folders and patterns that the options name."""
    named, folder = options.audio_input_prediction, options.audio_dir_prediction
    if folder is not None and not folder.is_dir():
        raise UserError(f"No such folder: {folder}")
    if folder is not None:
        named = [str(folder / name) for name in named] or [str(folder)]
    return [*options.inputs, *named]


def destination_of(options: argparse.Namespace) -> Destination:
    """Where results go.

    Raises:
        UserError: it is not a folder.
    """
    folder = options.dir_save_prediction
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UserError(f"`dir_save_prediction` must be a folder. Received: {folder}")
    return Destination(
        folder=folder,
        suffix=options.suffix,
        audio_format=options.format,
        raw=raw_of(options),
        name=options.audio_output_prediction,
    )


def check_demo() -> None:
    """Refuse to denoise nothing where there are no recordings to show what happens.

    Raises:
        UsageError: this is no checkout.
    """
    if not DEMO.is_dir():
        raise UsageError(f"There is nothing to denoise; try: {places.COMMAND} recording.wav")


def results_of_demo(options: argparse.Namespace) -> Path:
    """Where the results of demo_data/ go."""
    return options.dir_save_prediction or DEMO / "predictions"


def improvement(job: Job) -> Record:
    """SI-SDR of a recording of demo_data/ before and after, dB, where there is a clean one.

    None of a part of it, which has no clean one.
    """
    clean_path = DEMO / "clean" / job.source.name
    if not clean_path.is_file() or not job.target.is_file():
        return {}
    from speech_enhancement.scoring import metrics

    clean, rate = audio_io.load_audio(clean_path)
    scores = {}
    for name, path in (("si_sdr_in_db", job.source), ("si_sdr_out_db", job.target)):
        estimate, _ = audio_io.load_audio(path, rate)
        if len(estimate) != len(clean):
            return {}
        scores[name] = round(metrics.si_sdr(clean, estimate, rate), 2)
    return scores


def check_pipe(inputs: list[str]) -> None:
    """Refuse what a pipe has no place for.

    Raises:
        UsageError: there are other inputs.
    """
    if len(inputs) > 1:
        raise UsageError(f"The input - must be the only input. Received: {' '.join(inputs)}")


def safely(settings: BatchSettings, enhancer: Enhancer) -> Denoise:
    """From a file to another, in a process of its own where a damaged one can crash it."""
    file_options = settings.file_options

    def denoise(source: Path, target: Path) -> Report:
        if is_risky(source, target, file_options.raw):
            return denoise_apart(source, target, settings)
        return denoise_file(enhancer, source, target, file_options)

    return denoise


def suffix_of_pipe(options: argparse.Namespace) -> str:
    """Suffix of what goes to standard output: WAV, unless raw samples came in."""
    return f".{options.format or ('raw' if options.raw_format else 'wav')}"
