"""Batches for training that are mixed while it runs, and a fixed set of mixtures to validate on."""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

import audio_pack
import sources
from config import AudioConfig
from errors import UsageError, UserError
from features import Features
from mixing import Mixer
from mixing_config import MixingConfig
from mixture_feed import BatchMaker, MixtureFeed

# The same whatever the seed of a training, so that losses of several trainings compare.
VALIDATION_SEED = 20_000


class DynamicMixtures(keras.utils.PyDataset):
    """New mixtures in every batch of every epoch; the same seed gives the same ones.

    Batch `i` of an epoch is always the same whatever the number of workers. Pass `shuffle=False`
    to `fit`: there is nothing to shuffle, and the workers make batches in their order.

    Args:
        mixer: draws the mixtures.
        features: what the network sees and must give.
        batch_size: mixtures in a batch.
        steps_per_epoch: batches in an epoch.
        mixing_workers: processes that mix; 0 mixes in this one.
        prefetch: batches that may be ready at once.
    """

    def __init__(
        self,
        mixer: Mixer,
        features: Features,
        batch_size: int,
        steps_per_epoch: int,
        mixing_workers: int = 1,
        prefetch: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.audio = mixer.audio
        self.features = features
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.epoch = 0
        make = BatchMaker(mixer, features, batch_size, steps_per_epoch)
        self._feed = MixtureFeed(make, mixing_workers, prefetch)

    @property
    def n_windows(self) -> int:
        """Mixtures in an epoch."""
        return self.steps_per_epoch * self.batch_size

    @property
    def waited_s(self) -> float:
        """Seconds spent so far waiting for mixtures."""
        return self._feed.waited_s

    def __len__(self) -> int:
        return self.steps_per_epoch

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self._feed.get(self.epoch * self.steps_per_epoch + index)

    def start_epoch(self, epoch: int) -> None:
        """Go to an epoch, counted from zero."""
        self.epoch = epoch

    def on_epoch_end(self) -> None:
        """Move on to the next epoch's mixtures; Keras calls this once more as `fit` begins."""
        self.start_epoch(self.epoch + 1)

    def close(self) -> None:
        """End the processes that mix."""
        self._feed.close()


class FixedMixtures(keras.utils.PyDataset):
    """The same mixtures in every epoch, drawn once and kept as waveforms.

    Args:
        mixer: draws the mixtures.
        features: what the network sees and must give.
        batch_size: mixtures in a batch; the last one may be smaller.
        n_windows: mixtures in all.
    """

    def __init__(
        self, mixer: Mixer, features: Features, batch_size: int, n_windows: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.audio = mixer.audio
        self.features = features
        self.batch_size = batch_size
        self.n_windows = n_windows
        self.noisy, self.clean = mixer.batch(0, 0, n_windows)

    def waveforms(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first `count` noisy and clean waveforms, each (count, samples)."""
        return self.noisy[:count], self.clean[:count]

    def __len__(self) -> int:
        return math.ceil(self.n_windows / self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self.features.pair_of_waveforms(self.noisy[rows], self.clean[rows], self.audio)


def open_mixtures(
    options: argparse.Namespace, features: Features, audio: AudioConfig
) -> tuple[DynamicMixtures, FixedMixtures]:
    """Training and validation batches of `--data dynamic`.

    Raises:
        UserError: a folder is missing or holds nothing that can be used.
        UsageError: an option is missing or out of its range.
    """
    train, validation = open_mixers(options, audio)
    return (
        DynamicMixtures(
            train,
            features,
            options.batch_size,
            options.steps_per_epoch,
            options.mixing_workers,
            options.prefetch,
        ),
        FixedMixtures(validation, features, options.batch_size, options.validation_mixtures),
    )


def open_mixers(options: argparse.Namespace, audio: AudioConfig) -> tuple[Mixer, Mixer]:
    """The mixers of training and validation.

    Validation mixtures are of the validation folders if given, and then the same for every seed;
    else of voices and noises that training never uses.

    Raises:
        UserError: a folder is missing or holds nothing that can be used.
        UsageError: an option is missing or out of its range.
    """
    config = mixing_config(options)
    voices, voice_indices = _open_pools("voice", options, audio)
    noises, noise_indices = _open_pools("noise", options, audio)
    seeds = (options.seed, VALIDATION_SEED)
    train, validation = (
        Mixer(
            voices[side],
            noises[side],
            audio,
            config,
            seeds[side],
            voice_indices[side],
            noise_indices[side],
        )
        for side in (0, 1)
    )
    return train, validation


def mixing_config(options: argparse.Namespace) -> MixingConfig:
    """The recipe that the `--mix_...` options describe.

    Raises:
        UsageError: a value is out of its range.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(MixingConfig):
        value = getattr(options, f"mix_{field.name}")
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return MixingConfig(**values)


Pools = tuple[sources.AudioPool, sources.AudioPool]
Indices = tuple[list[int] | None, list[int] | None]


def _open_pools(
    kind: str, options: argparse.Namespace, audio: AudioConfig
) -> tuple[Pools, Indices]:
    """Pools for training and validation, and which of their recordings each may use."""
    folder: Path | None = getattr(options, f"{kind}_dir")
    if folder is None:
        raise UsageError(f"`{kind}_dir` is needed for --data dynamic. Received: none")
    train = _pool_of(kind, folder, options, audio)
    apart: Path | None = getattr(options, f"{kind}_dir_validation")
    if apart is None:
        sides = sources.split(train.recordings, options.validation_split, options.seed)
        return (train, train), sides
    validation = _pool_of(kind, apart, options, audio)
    held_out = {recording.path for recording in validation.recordings}
    rest = [i for i, recording in enumerate(train.recordings) if recording.path not in held_out]
    if not rest:
        raise UserError(f"All recordings of {folder} are in {apart}, none is left to train on")
    return (train, validation), (rest, None)


def _pool_of(
    kind: str, folder: Path, options: argparse.Namespace, audio: AudioConfig
) -> sources.AudioPool:
    """The pool of one folder, or of a folder in a pack."""
    folder = audio_pack.as_folder(folder, options.cache_dir)
    if kind == "voice":
        files = sources.find_voices(folder)
    else:
        files = sources.find_noises(folder, options.noise_classes)
    pool = sources.AudioPool.build(
        files, audio.sample_rate, options.cache_dir, workers=options.workers
    )
    sources.report_bad([pool])
    return pool
