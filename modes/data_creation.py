"""--mode data_creation: mix voices and noises into windows on disk, for `--mode training`.

| file | what is in it, a row for each window |
|---|---|
| `{noisy_voice,voice,noise}_amp_db.npy` | magnitudes in dB, float32 (windows, bins, frames) |
| `{noisy_voice,voice,noise}_pha_db.npy` | phases, complex64 of magnitude 1, with `--save_phase` |
| `{noisy_voice,voice,noise}_timeserie.npy` | waveforms, float32 (windows, frame_length) |
| `windows.npy` | recordings, places in them, factors and levels, `window_sources.WINDOW` |
| `sources.csv` | the recordings that it counts |
| `{noisy_voice,voice,noise}_long.wav` | the first minutes, to listen to |
| `manifest.json` | geometry, splits and options; written last, so that it stands for all |
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import args
import corpora
import data_tools
from config import AudioConfig
from corpora import Corpus
from errors import UsageError
from sources import AudioPool
from window_sources import Grid, MixingLaw
from window_store import WindowStore
from window_writer import SOUNDS, DataSet, write_chunks

FORMAT_VERSION = 1
LISTEN_S = 300
MIXED = ("voice_dir", "noise_dir")
PAIRED = ("clean_dir", "noisy_dir")
FOLDERS = (
    *MIXED,
    *PAIRED,
    "voice_dir_validation",
    "noise_dir_validation",
    "path_save_time_serie",
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
    "save_phase",
)


def run(options: argparse.Namespace) -> int:
    """Create the data set, or continue it; 1 if recordings had to be left out."""
    check(options)
    audio, law = args.audio_config(options), law_of(options)
    grid = Grid(audio.frame_length, options.hop_length_frame, options.hop_length_frame_noise)
    if options.clean_dir:
        corpus = corpora.open_paired(options, audio.sample_rate, grid)
    else:
        corpus = corpora.open_mixed(options, audio.sample_rate, law, grid)
    data_set = data_set_of(options, audio, corpus)
    store = WindowStore(
        options.path_save_spectrogram,
        list(data_set.arrays.values()),
        configuration(options, corpus, data_set),
    )
    if options.overwrite or not store.is_complete():
        create(options, corpus, data_set, store)
    print(f"{data_set.n_windows} windows in {store.folder}", file=sys.stderr)
    return report(corpus)


def create(
    options: argparse.Namespace, corpus: Corpus, data_set: DataSet, store: WindowStore
) -> None:
    """Fill the store, and write what goes with it; the manifest comes last."""
    with store.opened(options.overwrite):
        write_windows(data_set, store, options.workers)
        write_sources(store.folder / "sources.csv", corpus)
        store.publish()
        write_sounds(data_set, options.path_save_sound)
        store.finish(manifest(options, corpus, data_set))


def check(options: argparse.Namespace) -> None:
    """Refuse a data set of neither kind, or of both.

    Raises:
        UsageError: voices and noises, or recorded pairs, are missing or given together.
    """
    given = [name for name in (*MIXED, *PAIRED) if getattr(options, name)]
    if tuple(given) not in (MIXED, PAIRED):
        raise UsageError(
            f"Give either --{' and --'.join(MIXED)}, or --{' and --'.join(PAIRED)}. "
            f"Received: {', '.join(f'--{name}' for name in given) or 'none of them'}"
        )


def law_of(options: argparse.Namespace) -> MixingLaw:
    """The mixing law that the options describe.

    Raises:
        UsageError: it is not one.
    """
    return MixingLaw(
        snr_db=(options.snr_min, options.snr_max),
        level_dbfs=(options.level_min, options.level_max),
        noise_level=options.noise_level and tuple(options.noise_level),
        voice_level=tuple(options.voice_level or (1.0, 1.0)),
    )


def data_set_of(options: argparse.Namespace, audio: AudioConfig, corpus: Corpus) -> DataSet:
    """The data set that the options ask for."""
    n_validation = round(options.nb_samples * options.validation_split)
    n_validation = min(max(n_validation, 1), options.nb_samples - 1)
    return DataSet(
        audio=audio,
        n_train=options.nb_samples - n_validation,
        n_validation=n_validation,
        train=corpus.train,
        validation=corpus.validation,
        spectrogram_folder=options.path_save_spectrogram,
        time_serie_folder=options.path_save_time_serie,
        save_phase=options.save_phase,
    )


def configuration(options: argparse.Namespace, corpus: Corpus, data_set: DataSet) -> dict[str, Any]:
    """Everything that the bytes of the data set depend on."""
    return {
        "format_version": FORMAT_VERSION,
        "audio": data_set.audio.to_dict(),
        "recordings": {kind: pool.digest for kind, pool in corpus.pools.items()},
        "folders": {name: str(getattr(options, name) or "") for name in FOLDERS},
    } | {name: getattr(options, name) for name in CONFIGURING}


def write_windows(data_set: DataSet, store: WindowStore, workers: int) -> None:
    """Compute the windows that are missing."""
    missing = [chunk for chunk in data_set.chunks if chunk.number not in store.done]
    n_done = data_set.n_windows - sum(chunk.end - chunk.first for chunk in missing)
    with tqdm(total=data_set.n_windows, initial=n_done, desc="mixing", unit="window") as bar:
        for number, n_windows in write_chunks(data_set, missing, workers):
            store.mark_done(number)
            bar.update(n_windows)


def write_sources(path: Path, corpus: Corpus) -> None:
    """List the recordings that `windows.npy` counts."""
    with (
        data_tools.replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(["kind", "number", "group", "path", "n_samples", "active_rms"])
        for kind, pool in corpus.pools.items():
            table.writerows(rows_of(kind, pool))


def rows_of(kind: str, pool: AudioPool) -> list[list[Any]]:
    """The recordings of a pool, a line each."""
    return [
        [kind, number, recording.group, recording.path, recording.n_samples, recording.active_rms]
        for number, recording in enumerate(pool.recordings)
    ]


def manifest(options: argparse.Namespace, corpus: Corpus, data_set: DataSet) -> dict[str, Any]:
    """What the data set says about itself."""
    n_train, n_windows = data_set.n_train, data_set.n_windows
    return {
        "format_version": FORMAT_VERSION,
        "audio": data_set.audio.to_dict(),
        "seed": options.seed,
        "n_windows": n_windows,
        "split": {"train": [0, n_train], "validation": [n_train, n_windows]},
        "path_save_time_serie": str(options.path_save_time_serie.resolve()),
        "arrays": {name: list(array.shape) for name, array in data_set.arrays.items()},
        "windows": "windows.npy",
        "sources": "sources.csv",
        "left_out": corpus.left_out,
    }


def write_sounds(data_set: DataSet, folder: Path) -> None:
    """The first minutes of the windows, one after the other, to listen to."""
    rate = data_set.audio.sample_rate
    n_windows = max(1, LISTEN_S * rate // data_set.audio.frame_length)
    for sound in SOUNDS:
        windows = np.load(data_set.arrays[f"{sound}_timeserie"].path, mmap_mode="r")
        data_tools.save_audio(folder / f"{sound}_long.wav", windows[:n_windows].reshape(-1), rate)


def report(corpus: Corpus) -> int:
    """Name on stderr what was trimmed or left out; the exit code."""
    for remark in corpus.remarks:
        print(f"trimmed: {remark}", file=sys.stderr)
    for reason in corpus.left_out:
        print(f"left out: {reason}", file=sys.stderr)
    return 1 if corpus.left_out else 0
