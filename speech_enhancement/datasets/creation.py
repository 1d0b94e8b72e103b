"""Creates a data set of windows on disk, for `--mode training`.

| file | what is in it, a row for each window |
|---|---|
| `{noisy_voice,voice,noise}_amp_db.npy` | magnitudes in dB, float32 (windows, bins, frames) |
| `{noisy_voice,voice,noise}_pha_db.npy` | phases, complex64 of magnitude 1, with `save_phase` |
| `{noisy_voice,voice,noise}_timeserie.npy` | waveforms, float32 (windows, frame_length) |
| `windows.npy` | recordings, places in them, factors and levels, `windows.WINDOW` |
| `sources.csv` | the recordings that it counts |
| `{noisy_voice,voice,noise}_long.wav` | the first minutes, to listen to |
| `SPLIT/{clean,noisy}/*.wav` | clips of 5 s, of the test split or with `save_clips` of each |
| `manifest.json` | geometry, splits and options; written last, so that it stands for all |
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from speech_enhancement.config import AudioConfig
from speech_enhancement.corpora import preparation as corpora
from speech_enhancement.corpora.pools import AudioPool
from speech_enhancement.corpora.preparation import Preparation, SplitPairs
from speech_enhancement.datasets.store import WindowStore
from speech_enhancement.datasets.windows import (
    AugmentedPairs,
    Grid,
    MixedWindows,
    PairedWindows,
    RecipeWindows,
    WindowSource,
)
from speech_enhancement.datasets.writer import (
    SOUNDS,
    DataSet,
    write_chunks,
    write_chunks_on_cluster,
)
from speech_enhancement.errors import UsageError, table_text
from speech_enhancement.files import atomic, audio_io
from speech_enhancement.files.paths import PathFields
from speech_enhancement.mixing.mixer import Mixer, PairAugmenter
from speech_enhancement.mixing.recipe import MixingConfig

MIXED = ("voice_dir", "noise_dir")
PAIRED = ("clean_dir", "noisy_dir")
VALIDATION = ("voice_dir_validation", "noise_dir_validation")
FORMAT_VERSION = 1
LISTEN_S = 300
CLIP_S = 5.0
CLIPS_AT_ONCE = 16


@dataclasses.dataclass(frozen=True)
class WindowSettings(PathFields):
    """What is stored, and where.

    Args:
        spectrogram_folder, time_serie_folder, sound_folder: where the files go.
        nb_samples: windows in all.
        hop_length: windows begin at multiples of this in voices and pairs, samples.
        hop_length_noise: likewise in noises.
        save_phase: whether to store the phases.
        overwrite: delete another data set that lies there.
        save_clips: whether to write clips of all splits as WAV files, too.
        part: data sets of one seed and other parts have other windows of the same splits.
    """

    spectrogram_folder: Path
    time_serie_folder: Path
    sound_folder: Path
    nb_samples: int = 40000
    hop_length: int = 1
    hop_length_noise: int = 1
    save_phase: bool = False
    overwrite: bool = False
    save_clips: bool = False
    part: int = 0


@dataclasses.dataclass(frozen=True)
class Created:
    """What `create_data` has created.

    Args:
        folder: of the manifest.
        n_windows: windows of all splits.
        left_out: a sentence for each recording that could not be used.
        remarks: a sentence for each recording that is used otherwise than it is.
    """

    folder: Path
    n_windows: int
    left_out: list[str]
    remarks: list[str]


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Where windows come from.

    Args:
        pools: recordings by what they are.
        source: makes the source of a split's windows on a grid.
        left_out, remarks: see `Created`.
    """

    pools: dict[str, AudioPool]
    source: Callable[[str, Grid], WindowSource]
    left_out: list[str]
    remarks: list[str] = dataclasses.field(default_factory=list)


def create_data(
    audio: AudioConfig,
    preparation: Preparation,
    settings: WindowSettings,
    folders: Mapping[str, Sequence[Path]],
    recipe: MixingConfig | None = None,
    augment: bool = False,
    cluster: str | None = None,
) -> Created:
    """Create a data set, or continue it; one that is complete is left alone.

    Args:
        audio: geometry of the windows.
        preparation: how recordings are decoded and parted.
        settings: what is stored, and where.
        folders: `voice_dir` and `noise_dir`, and perhaps `voice_dir_validation` and
            `noise_dir_validation`; or `clean_dir` and `noisy_dir`.
        recipe: levels of voices and noises; `MixingConfig.plain()` by default.
        augment: follow the whole recipe, by default `MixingConfig()`, as mixtures on the fly do;
            recorded pairs are only changed in speed, tone colour and level, and degraded.
        cluster: address of the Ray cluster that mixes the windows, see `cluster.each_on_cluster`;
            by default, processes of this machine do.

    Raises:
        UserError: recordings are missing, or the files cannot be written.
        UsageError: there are not enough windows for all splits, or the folders are neither those of
            voices and noises nor those of pairs.
    """
    check_folders(folders)
    if augment and settings.hop_length != 1 and "clean_dir" not in folders:
        raise UsageError(
            "`hop_length_frame` only has an effect without --augment or with --clean_dir. "
            f"Received: {settings.hop_length} with --augment"
        )
    folders = {name: list(map(Path, several)) for name, several in folders.items()}
    recipe = recipe or (MixingConfig() if augment else MixingConfig.plain())
    drawn = _open(preparation, folders, audio, recipe, augment, settings.part)
    grid = Grid(audio.frame_length, settings.hop_length, settings.hop_length_noise)
    counts = counts_of(settings.nb_samples, preparation)
    data_set = DataSet(
        audio=audio,
        splits={name: (count, drawn.source(name, grid)) for name, count in counts.items()},
        spectrogram_folder=settings.spectrogram_folder,
        time_serie_folder=settings.time_serie_folder,
        save_phase=settings.save_phase,
    )
    store = WindowStore(
        settings.spectrogram_folder,
        list(data_set.arrays.values()),
        _configuration(data_set, drawn, preparation, settings, folders, recipe, augment),
    )
    if settings.overwrite or not store.is_complete():
        with store.opened(settings.overwrite):
            _write_windows(data_set, store, drawn.pools, preparation.workers, cluster)
            _write_sources(store.folder / "sources.csv", drawn.pools)
            store.publish()
            _write_sounds(data_set, settings.sound_folder)
            for split in counts if settings.save_clips else set(counts) & {"test"}:
                _write_clips(data_set, drawn, settings, split)
            store.finish(_manifest(data_set, drawn, preparation.seed))
    return Created(store.folder, data_set.n_windows, drawn.left_out, drawn.remarks)


def check_folders(folders: Mapping[str, Sequence[Path]]) -> None:
    """Refuse folders from which no data set can be made.

    Raises:
        UsageError: voices and noises, or recorded pairs, are missing or given together.
    """
    given = [name for name in (*MIXED, *PAIRED) if folders.get(name)]
    if tuple(given) not in (MIXED, PAIRED):
        raise UsageError(
            f"Give either --{' and --'.join(MIXED)}, or --{' and --'.join(PAIRED)}. "
            f"Received: {', '.join(f'--{name}' for name in given) or 'none of them'}"
        )


def counts_of(nb_samples: int, preparation: Preparation) -> dict[str, int]:
    """Windows of each split, at least one.

    Raises:
        UsageError: there are fewer windows than splits.
    """
    if nb_samples < len(preparation.splits):
        raise UsageError(
            f"`nb_samples` must be at least {len(preparation.splits)}, one for each of "
            f"{', '.join(preparation.splits)}. Received: {nb_samples}"
        )
    shares = {"validation": preparation.validation_split, "test": preparation.test_split}
    counts = {"train": nb_samples}
    for name in preparation.splits[1:]:
        most = counts["train"] - (len(preparation.splits) - len(counts))
        counts[name] = min(max(round(nb_samples * shares[name]), 1), most)
        counts["train"] -= counts[name]
    return counts


def _open(
    preparation: Preparation,
    folders: dict[str, Sequence[Path]],
    audio: AudioConfig,
    recipe: MixingConfig,
    augment: bool,
    part: int,
) -> Drawn:
    """Voices and noises, or recorded pairs."""
    first = part * len(corpora.SPLITS)
    keys = {name: (preparation.seed, side) for side, name in enumerate(corpora.SPLITS, first)}
    if "clean_dir" in folders:
        pairs = corpora.open_pairs(folders["clean_dir"], folders["noisy_dir"], preparation)
        return _of_pairs(pairs, keys, audio, recipe if augment else None)
    voices = corpora.open_voices(
        folders["voice_dir"], preparation, folders.get("voice_dir_validation", ())
    )
    noises = corpora.open_noises(
        folders["noise_dir"], preparation, folders.get("noise_dir_validation", ())
    )

    def source(split: str, grid: Grid) -> WindowSource:
        indices = voices.indices[split], noises.indices[split]
        if augment:
            geometry = dataclasses.replace(audio, frame_length=grid.frame_length)
            sources = voices.pool, noises.pool, geometry, recipe, preparation.seed
            return RecipeWindows(Mixer(*sources, *indices), keys[split])
        return MixedWindows(voices.pool, noises.pool, *indices, recipe, grid, keys[split])

    pools = {"voice": voices.pool, "noise": noises.pool}
    return Drawn(pools, source, corpora.reasons_of(pools.values()))


def _of_pairs(
    pairs: SplitPairs,
    keys: dict[str, tuple[int, int]],
    audio: AudioConfig,
    recipe: MixingConfig | None,
) -> Drawn:
    """Windows of recorded pairs, changed by a recipe if there is one."""

    def source(split: str, grid: Grid) -> WindowSource:
        plain = PairedWindows(pairs.clean, pairs.noisy, pairs.indices[split], grid, keys[split])
        if recipe is None:
            return plain
        geometry = dataclasses.replace(audio, frame_length=grid.frame_length)
        return AugmentedPairs(plain, PairAugmenter(geometry, recipe))

    pools = {"clean": pairs.clean, "noisy": pairs.noisy}
    return Drawn(pools, source, pairs.left_out, pairs.remarks)


def _configuration(
    data_set: DataSet,
    drawn: Drawn,
    preparation: Preparation,
    settings: WindowSettings,
    folders: dict[str, Sequence[Path]],
    recipe: MixingConfig,
    augment: bool,
) -> dict[str, Any]:
    """Everything that the bytes of the data set depend on."""
    names = (
        *("voice_dir", "noise_dir", "clean_dir", "noisy_dir"),
        *("voice_dir_validation", "noise_dir_validation"),
    )
    configuration = {
        "format_version": FORMAT_VERSION,
        "audio": data_set.audio.to_dict(),
        "recordings": {kind: pool.digest for kind, pool in drawn.pools.items()},
        "folders": {name: ", ".join(map(str, folders.get(name, ()))) for name in names}
        | {"path_save_time_serie": str(settings.time_serie_folder)},
        "seed": preparation.seed,
        "nb_samples": settings.nb_samples,
        "validation_split": preparation.validation_split,
        "snr_min": recipe.snr_db[0],
        "snr_max": recipe.snr_db[1],
        "level_min": recipe.level_dbfs[0],
        "level_max": recipe.level_dbfs[1],
        "noise_level": recipe.noise_factor,
        "voice_level": None if recipe.voice_factor == (1.0, 1.0) else recipe.voice_factor,
        "hop_length_frame": settings.hop_length,
        "hop_length_frame_noise": settings.hop_length_noise,
        "min_duration": preparation.min_duration,
        "save_phase": settings.save_phase,
    }
    # What earlier data sets do not know of is told only where it differs from what they are.
    if preparation.test_split:
        configuration["test_split"] = preparation.test_split
    if preparation.split_noises_by != "file":
        configuration["split_noises_by"] = preparation.split_noises_by
    if settings.save_clips:
        configuration["save_clips"] = True
    if settings.part:
        configuration["part"] = settings.part
    if augment:
        configuration["recipe"] = recipe.to_dict()
    return configuration


def _write_windows(
    data_set: DataSet,
    store: WindowStore,
    pools: Mapping[str, AudioPool],
    workers: int,
    cluster: str | None,
) -> None:
    """Compute the windows that are missing."""
    missing = [chunk for chunk in data_set.chunks if chunk.number not in store.done]
    n_done = data_set.n_windows - sum(chunk.end - chunk.first for chunk in missing)
    if cluster:
        sources = [pool.index_path for pool in pools.values()]
        written = write_chunks_on_cluster(data_set, missing, cluster, sources)
    else:
        written = write_chunks(data_set, missing, workers)
    with tqdm(total=data_set.n_windows, initial=n_done, desc="mixing", unit="window") as bar:
        for number, n_windows in written:
            store.mark_done(number)
            bar.update(n_windows)


def _write_sources(path: Path, pools: dict[str, AudioPool]) -> None:
    """List the recordings that `windows.npy` counts."""
    with (
        atomic.replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(["kind", "number", "group", "path", "n_samples", "active_rms"])
        for kind, pool in pools.items():
            table.writerows(_rows_of(kind, pool))


def _rows_of(kind: str, pool: AudioPool) -> list[list[Any]]:
    """The recordings of a pool, a line each."""
    return [
        [
            *(kind, number, table_text(recording.group), table_text(str(recording.path))),
            *(recording.n_samples, recording.active_rms),
        ]
        for number, recording in enumerate(pool.recordings)
    ]


def _manifest(data_set: DataSet, drawn: Drawn, seed: int) -> dict[str, Any]:
    """What the data set says about itself."""
    return {
        "format_version": FORMAT_VERSION,
        "audio": data_set.audio.to_dict(),
        "seed": seed,
        "n_windows": data_set.n_windows,
        "split": {name: [of.start, of.stop] for name, of in data_set.ranges.items()},
        "path_save_time_serie": str(data_set.time_serie_folder.resolve()),
        "arrays": {name: list(array.shape) for name, array in data_set.arrays.items()},
        "windows": "windows.npy",
        "sources": "sources.csv",
        "left_out": drawn.left_out,
    }


def _write_sounds(data_set: DataSet, folder: Path) -> None:
    """Write the first minutes of the windows, one after the other, to listen to."""
    rate = data_set.audio.sample_rate
    n_windows = max(1, LISTEN_S * rate // data_set.audio.frame_length)
    for sound in SOUNDS:
        windows = np.load(data_set.arrays[f"{sound}_timeserie"].path, mmap_mode="r")
        audio_io.save_audio(folder / f"{sound}_long.wav", windows[:n_windows].reshape(-1), rate)


def _write_clips(data_set: DataSet, drawn: Drawn, settings: WindowSettings, split: str) -> None:
    """Write clips that can be scored, with about as much sound as the windows of a split."""
    rate = data_set.audio.sample_rate
    length = max(round(CLIP_S * rate), data_set.audio.frame_length)
    n_windows, _ = data_set.splits[split]
    n_clips = -(-n_windows * data_set.audio.frame_length // length)
    source = drawn.source(split, Grid(length, settings.hop_length, settings.hop_length_noise))
    folder = settings.sound_folder / split
    for first in range(0, n_clips, CLIPS_AT_ONCE):
        indices = range(first, min(first + CLIPS_AT_ONCE, n_clips))
        voices, noises = source.read(source.choose(indices), indices)
        for index, voice, noise in zip(indices, voices, noises, strict=True):
            for kind, sound in (("clean", voice), ("noisy", voice + noise)):
                audio_io.save_audio(folder / kind / f"{index:06d}.wav", sound, rate)
