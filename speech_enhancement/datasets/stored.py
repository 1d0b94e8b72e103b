"""Batches for training from the .npy windows that data_creation wrote, read as they are needed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from speech_enhancement.config import AudioConfig
from speech_enhancement.datasets.store import MANIFEST
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import json_files
from speech_enhancement.files.json_files import (
    LARGEST_INDEX,
    anything,
    record,
    row,
    table,
    text,
    whole,
)
from speech_enhancement.signal import dsp
from speech_enhancement.signal.features import Features

CONTENT = record(
    {
        "audio": table(anything),
        "split": record({name: row(whole(0), whole(0)) for name in ("train", "validation")}),
        "path_save_time_serie": text(),
    }
)
# Of a bin in the loss, times the mean; a few bins would rule it otherwise.
LARGEST_WEIGHT = 8.0


def load_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest that data_creation wrote about its windows.

    Args:
        folder: folder of the spectrograms.

    Raises:
        UserError: data_creation has not finished there.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest = json_files.load(path, "a manifest of data_creation", CONTENT, LARGEST_INDEX)
        audio_of(manifest)
    except FileNotFoundError as error:
        raise UserError(f"No finished data set in {folder}: run --mode data_creation") from error
    except (OSError, UsageError) as error:
        raise UserError(f"{path} is not a manifest of data_creation: {error}") from error
    return manifest


def digest_of(folder: Path) -> str:
    """What the windows of a folder are, wherever they and their recordings lie: 16 digits.

    Raises:
        UserError: data_creation has not finished there.
    """
    manifest = load_manifest(folder)
    del manifest["path_save_time_serie"]
    configuration = manifest.get("configuration", {})
    known = {name: value for name, value in configuration.items() if name != "folders"}
    content = json.dumps(manifest | {"configuration": known}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def audio_of(manifest: dict[str, Any]) -> AudioConfig:
    """The geometry of the windows."""
    return AudioConfig.from_dict(manifest["audio"])


def common_audio(folders: Sequence[Path], manifests: Sequence[dict[str, Any]]) -> AudioConfig:
    """The geometry that all data sets have.

    Raises:
        UserError: two of them differ.
    """
    first = audio_of(manifests[0])
    for folder, manifest in zip(folders, manifests, strict=True):
        if audio_of(manifest) != first:
            raise UserError(
                "Data sets that are used together must have the same geometry; that of "
                f"{folder} is not that of {folders[0]}"
            )
    return first


class Rows:
    """Rows of several arrays, one array after the other.

    Args:
        arrays: of one shape but for the number of their rows.
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays = arrays
        self._ends = np.cumsum([len(array) for array in arrays])

    def __getitem__(self, chosen: np.ndarray) -> np.ndarray:
        rows = np.empty((len(chosen), *self.arrays[0].shape[1:]), self.arrays[0].dtype)
        numbers = np.searchsorted(self._ends, chosen, "right")
        for number in np.unique(numbers):
            here, array = numbers == number, self.arrays[number]
            rows[here] = array[chosen[here] - (self._ends[number] - len(array))]
        return rows


class StoredWindows(keras.utils.PyDataset):
    """Windows of one split as batches (input, target), shuffled anew each epoch.

    Only the windows of the batch at hand are in memory.

    Args:
        folders: folder of the spectrograms and the manifest, or several of one geometry, whose
            windows are shuffled together.
        split: `train` or `validation`.
        features: what the network sees and must give.
        batch_size: windows in a batch; the last one may be smaller.
        limit: use only this many windows.
        shuffle_seed: seed of the order; none keeps the order of the files.
        loud_weight: above 0, batches are (input, target, weights): see `loudness_weights`.

    Raises:
        UserError: the data set is unfinished, or a file is missing or of another shape.
    """

    def __init__(
        self,
        folders: Path | Sequence[Path],
        split: str,
        features: Features,
        batch_size: int,
        limit: int | None = None,
        shuffle_seed: int | None = None,
        loud_weight: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.folders = [folders] if isinstance(folders, (str, Path)) else list(folders)
        self.manifests = [load_manifest(folder) for folder in self.folders]
        self.audio = common_audio(self.folders, self.manifests)
        self.features = features
        self.batch_size = batch_size
        self.n_stored = [max(end for _, end in m["split"].values()) for m in self.manifests]
        offsets = np.cumsum(self.n_stored) - self.n_stored
        ranges = [manifest["split"][split] for manifest in self.manifests]
        self.indices = np.concatenate(
            [np.arange(*of) + offset for of, offset in zip(ranges, offsets, strict=True)]
        )[:limit]
        self.shuffle_seed = shuffle_seed
        self.loud_weight = loud_weight
        self.start_epoch(0)
        if features.representation in ("complex", "waveform"):
            self.noisy, self.clean = self._time_series()
        else:
            self.noisy, self.clean = self._spectrograms()

    @property
    def n_windows(self) -> int:
        """Windows in an epoch."""
        return len(self.indices)

    def __len__(self) -> int:
        return math.ceil(self.n_windows / self.batch_size)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, ...]:
        chosen = self.order[batch * self.batch_size : (batch + 1) * self.batch_size]
        # Sorted, so that a disk is read in one direction.
        chosen = np.sort(chosen)
        clean = self.clean[chosen]
        pair = self.features.pair(self.noisy[chosen], clean, self.audio)
        return (*pair, loudness_weights(clean, self.loud_weight)) if self.loud_weight else pair

    def start_epoch(self, epoch: int) -> None:
        """Take the order of an epoch, counted from zero."""
        self.epoch = epoch
        self.order = self.indices
        if self.shuffle_seed is not None:
            rng = np.random.default_rng([self.shuffle_seed, epoch])
            self.order = rng.permutation(self.indices)

    def on_epoch_end(self) -> None:
        """Move on to the next epoch's order."""
        self.start_epoch(self.epoch + 1)

    def waveforms(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first `count` noisy and clean waveforms, each (count, samples)."""
        noisy, clean = self._time_series()
        chosen = self.indices[:count]
        return noisy[chosen], clean[chosen]

    def _spectrograms(self) -> tuple[np.ndarray | Rows, np.ndarray | Rows]:
        """Noisy and clean magnitudes in dB (windows, bins, frames)."""
        shape = (self.audio.n_bins, self.audio.n_frames)
        return (
            self._open(self.folders, "noisy_voice_amp_db.npy", shape),
            self._open(self.folders, "voice_amp_db.npy", shape),
        )

    def _time_series(self) -> tuple[np.ndarray | Rows, np.ndarray | Rows]:
        """Noisy and clean waveforms (windows, samples)."""
        shape = (self.audio.frame_length,)
        folders = [Path(manifest["path_save_time_serie"]) for manifest in self.manifests]
        return (
            self._open(folders, "noisy_voice_timeserie.npy", shape),
            self._open(folders, "voice_timeserie.npy", shape),
        )

    def _open(
        self, folders: Sequence[Path], name: str, shape: tuple[int, ...]
    ) -> np.ndarray | Rows:
        """Windows of all folders, of the shape that the manifests promise."""
        arrays = [
            _open_windows(Path(folder) / name, (count, *shape))
            for folder, count in zip(folders, self.n_stored, strict=True)
        ]
        return arrays[0] if len(arrays) == 1 else Rows(arrays)


def loudness_weights(clean_db: np.ndarray, share: float) -> np.ndarray:
    """Weights of a loss that attend to the bins where the voice is loud.

    A loss in dB gives an inaudible bin the same weight as the loudest one, whereas errors in the
    loudest bins lower the signal-to-noise ratio most.

    Args:
        clean_db: magnitudes of the voice, dB (batch, bins, frames).
        share: 0..1, of the weight that follows the root of the magnitude; the rest is the same
            for all bins.

    Returns:
        float32 (batch, bins, frames), about 1 in the mean of each window.
    """
    root = dsp.db_to_amplitude(0.5 * clean_db)
    root /= root.mean(axis=(1, 2), keepdims=True)
    return (1.0 - share + share * np.minimum(root, LARGEST_WEIGHT)).astype(np.float32)


def _open_windows(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Memory map of a file of windows of the shape that the manifest promises."""
    try:
        windows = np.load(path, mmap_mode="r")
    except FileNotFoundError as error:
        raise UserError(f"No {path.name} in {path.parent}: run --mode data_creation") from error
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"Cannot read {path} as an array: {error}") from error
    if windows.shape != shape:
        raise UserError(f"{path} must be shaped {shape}. Received: {windows.shape}")
    return windows
