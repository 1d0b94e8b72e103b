"""--mode data_creation: mix voices and noises into spectrograms, time series and a manifest."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import args
import data_tools
import sources
import window_store
from errors import UsageError, UserError
from mixing_law import Mixer, MixingLaw
from mixtures_on_disk import SOUNDS, DataSet, write_chunks
from sources import AudioPool, Recording

FORMAT_VERSION = 1
LISTEN_S = 300


def run(options: argparse.Namespace) -> int:
    """Create the data set, or continue it; 1 if recordings had to be left out."""
    check(options)
    voices, voice_split = pool_of(options, "voice")
    noises, noise_split = pool_of(options, "noise")
    data_set = describe(options, voices, voice_split, noises, noise_split)
    store = window_store.WindowStore(
        options.path_save_spectrogram,
        list(data_set.arrays.values()),
        configuration(options, voices, noises),
    )
    if store.is_complete() and not options.overwrite:
        print(f"{store.manifest} is complete already", file=sys.stderr)
    else:
        store.open(options.overwrite)
        write_windows(data_set, store, options.workers)
        write_sources(options.path_save_spectrogram / "sources.csv", voices, noises)
        store.finish(manifest(options, data_set, voices, noises))
        write_sounds(data_set, options.path_save_sound)
        print(f"{data_set.n_windows} windows in {options.path_save_spectrogram}", file=sys.stderr)
    return 1 if sources.report_bad([voices, noises]) else 0


def check(options: argparse.Namespace) -> None:
    """Refuse options that no data set can have.

    Raises:
        UsageError: a value is out of its range or missing.
    """
    for name in ("voice_dir", "noise_dir"):
        if getattr(options, name) is None:
            raise UsageError(f"`--{name}` is needed: a folder of recordings")
    for name in ("hop_length_frame", "hop_length_frame_noise", "workers"):
        if getattr(options, name) < 1:
            raise UsageError(f"`{name}` must be at least 1. Received: {getattr(options, name)}")
    if options.nb_samples < 2:
        raise UsageError(
            "`nb_samples` must be at least 2, one to train and one to validate. "
            f"Received: {options.nb_samples}"
        )
    if not 0.0 < options.validation_split < 1.0:
        raise UsageError(
            f"`validation_split` must lie between 0 and 1. Received: {options.validation_split}"
        )
    law_of(options)


def law_of(options: argparse.Namespace) -> MixingLaw:
    """The mixing law that the options describe."""
    if options.voice_level and not options.noise_level:
        raise UsageError("`voice_level` needs `noise_level` beside it")
    return MixingLaw(
        snr_db=(options.snr_min, options.snr_max),
        level_dbfs=(options.level_min, options.level_max),
        noise_level=options.noise_level and tuple(options.noise_level),
        voice_level=tuple(options.voice_level or (1.0, 1.0)),
    )


def pool_of(
    options: argparse.Namespace, kind: str
) -> tuple[AudioPool, tuple[list[int], list[int]]]:
    """Recordings of `voice` or `noise`, and which of them are for training and validation."""
    files = find(options, kind, getattr(options, f"{kind}_dir"))
    folder = getattr(options, f"{kind}_dir_validation")
    held_out = find(options, kind, folder) if folder else []
    held_out_paths = {path.resolve() for path, _ in held_out}
    files = [file for file in files if file[0].resolve() not in held_out_paths] + held_out
    pool = AudioPool.build(files, options.sample_rate, options.cache_dir, workers=options.workers)
    usable = long_enough(pool, options.min_duration)
    if held_out:
        return pool, parted(pool, usable, held_out_paths)
    recordings = [pool.recordings[index] for index in usable]
    key = (lambda r: r.group) if kind == "voice" else (lambda r: r.path)
    train, validation = sources.split(recordings, options.validation_split, options.seed, key)
    return pool, ([usable[i] for i in train], [usable[i] for i in validation])


def find(options: argparse.Namespace, kind: str, folder: Path) -> list[tuple[Path, str]]:
    """Recordings of `voice` or `noise` below a folder, with their groups."""
    if kind == "voice":
        return sources.find_voices(folder)
    return sources.find_noises(folder, options.noise_classes)


def long_enough(pool: AudioPool, min_duration: float) -> list[int]:
    """Indices of the recordings that last `min_duration` seconds or more.

    Raises:
        UserError: there are none.
    """
    shortest = min_duration * pool.sample_rate
    usable = [i for i, recording in enumerate(pool.recordings) if recording.n_samples >= shortest]
    if not usable:
        raise UserError(
            f"None of the {len(pool.recordings)} recordings lasts `min_duration` ({min_duration} s)"
        )
    return usable


def parted(pool: AudioPool, usable: list[int], held_out: set[Path]) -> tuple[list[int], list[int]]:
    """Usable recordings outside and inside of the folder of validation.

    Raises:
        UserError: one of the two is empty.
    """
    sides: tuple[list[int], list[int]] = ([], [])
    for index in usable:
        sides[pool.recordings[index].path.resolve() in held_out].append(index)
    if not all(sides):
        raise UserError(
            "Training and validation both need recordings. Received: "
            f"{len(sides[0])} to train, {len(sides[1])} to validate"
        )
    return sides


def describe(
    options: argparse.Namespace,
    voices: AudioPool,
    voice_split: tuple[list[int], list[int]],
    noises: AudioPool,
    noise_split: tuple[list[int], list[int]],
) -> DataSet:
    """The data set that the options ask for."""
    audio = args.audio_config(options)
    n_validation = round(options.nb_samples * options.validation_split)
    n_validation = min(max(n_validation, 1), options.nb_samples - 1)
    train, validation = (
        Mixer(
            voices,
            noises,
            voice_split[side],
            noise_split[side],
            law_of(options),
            audio.frame_length,
            options.hop_length_frame,
            options.hop_length_frame_noise,
            (options.seed, side),
        )
        for side in (0, 1)
    )
    return DataSet(
        audio=audio,
        n_train=options.nb_samples - n_validation,
        n_validation=n_validation,
        train=train,
        validation=validation,
        spectrogram_folder=options.path_save_spectrogram,
        time_serie_folder=options.path_save_time_serie,
        save_phase=options.save_phase,
    )


CONFIGURING = (
    "seed",
    "nb_samples",
    "validation_split",
    "snr_min",
    "snr_max",
    "level_min",
    "level_max",
    "noise_level",
    "voice_level",
    "hop_length_frame",
    "hop_length_frame_noise",
    "min_duration",
    "noise_classes",
    "save_phase",
)


def configuration(
    options: argparse.Namespace, voices: AudioPool, noises: AudioPool
) -> dict[str, Any]:
    """Everything that the bytes of the data set depend on."""
    return {
        "format_version": FORMAT_VERSION,
        "audio": args.audio_config(options).to_dict(),
        "voices": voices.digest,
        "noises": noises.digest,
        "path_save_time_serie": str(options.path_save_time_serie.resolve()),
    } | {name: getattr(options, name) for name in CONFIGURING}


def write_windows(data_set: DataSet, store: window_store.WindowStore, workers: int) -> None:
    """Compute the windows that are missing."""
    missing = window_store.chunks(data_set.n_windows, data_set.chunk_size, store.done)
    n_done = data_set.n_windows - sum(end - first for _, first, end in missing)
    with tqdm(total=data_set.n_windows, initial=n_done, desc="mixing", unit="window") as bar:
        for chunk, n_windows in write_chunks(data_set, missing, workers):
            store.mark_done(chunk)
            bar.update(n_windows)


def write_sources(path: Path, voices: AudioPool, noises: AudioPool) -> None:
    """List the recordings that `windows.npy` counts."""
    with data_tools.replacing(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["kind", "index", "group", "path", "n_samples", "active_rms"])
        for kind, pool in (("voice", voices), ("noise", noises)):
            table.writerows(row_of(kind, index, r) for index, r in enumerate(pool.recordings))


def row_of(kind: str, index: int, recording: Recording) -> list[Any]:
    """One line of the list of recordings."""
    return [
        kind,
        index,
        recording.group,
        recording.path,
        recording.n_samples,
        recording.active_rms,
    ]


def manifest(
    options: argparse.Namespace, data_set: DataSet, voices: AudioPool, noises: AudioPool
) -> dict[str, Any]:
    """What the data set says about itself."""
    n_train, n_windows = data_set.n_train, data_set.n_windows
    return {
        "format_version": FORMAT_VERSION,
        "audio": data_set.audio.to_dict(),
        "n_windows": n_windows,
        "split": {"train": [0, n_train], "validation": [n_train, n_windows]},
        "path_save_time_serie": str(options.path_save_time_serie.resolve()),
        "arrays": {name: list(array.shape) for name, array in data_set.arrays.items()},
        "windows": "windows.npy",
        "sources": "sources.csv",
        "bad_files": dict(voices.bad + noises.bad),
    }


def write_sounds(data_set: DataSet, folder: Path) -> None:
    """The first minutes of the windows, one after the other, to listen to."""
    rate = data_set.audio.sample_rate
    n_windows = max(1, LISTEN_S * rate // data_set.audio.frame_length)
    for sound in SOUNDS:
        windows = np.load(data_set.arrays[f"{sound}_timeserie"].path, mmap_mode="r")
        data_tools.save_audio(folder / f"{sound}_long.wav", windows[:n_windows].reshape(-1), rate)
