"""Batches for training that are mixed while it runs, and a fixed set of mixtures to validate on."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from speech_enhancement.config import AudioConfig
from speech_enhancement.corpora.preparation import SplitPool
from speech_enhancement.datasets.feed import BatchMaker, MixtureFeed
from speech_enhancement.mixing.mixer import Mixer
from speech_enhancement.mixing.recipe import MixingConfig
from speech_enhancement.signal.features import Features

# The same whatever the seed of a training, so that losses of several trainings compare.
VALIDATION_SEED = 20_000


class NewMixtures(keras.utils.PyDataset):
    """New mixtures in every batch of every epoch, whoever draws them; the same seed, the same ones.

    Pass `shuffle=False` to `fit`: there is nothing to shuffle.

    Args:
        mixer: whose recordings, recipe and seed are used.
        features: what the network sees and must give.
        batch_size: mixtures in a batch.
        steps_per_epoch: batches in an epoch.
    """

    def __init__(
        self, mixer: Mixer, features: Features, batch_size: int, steps_per_epoch: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.audio = mixer.audio
        self.features = features
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.epoch = 0

    @property
    def n_windows(self) -> int:
        """Mixtures in an epoch."""
        return self.steps_per_epoch * self.batch_size

    def __len__(self) -> int:
        return self.steps_per_epoch

    def start_epoch(self, epoch: int) -> None:
        """Go to an epoch, counted from zero."""
        self.epoch = epoch

    def on_epoch_end(self) -> None:
        """Move on to the next epoch's mixtures; Keras calls this once more as `fit` begins."""
        self.start_epoch(self.epoch + 1)


class DynamicMixtures(NewMixtures):
    """Mixtures that processes of the host draw.

    Batch `i` of an epoch is always the same whatever the number of workers, which make batches in
    their order.

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
        super().__init__(mixer, features, batch_size, steps_per_epoch, **kwargs)
        make = BatchMaker(mixer, features, batch_size, steps_per_epoch)
        self._feed = MixtureFeed(make, mixing_workers, prefetch)

    @property
    def waited_s(self) -> float:
        """Seconds spent so far waiting for mixtures."""
        return self._feed.waited_s

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self._feed.get(self.epoch * self.steps_per_epoch + index)

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


@dataclasses.dataclass(frozen=True)
class MixtureSettings:
    """How many mixtures there are, and who draws them.

    Args:
        batch_size: mixtures in a batch.
        steps_per_epoch: batches in an epoch.
        validation_mixtures: mixtures to validate on.
        mixing_workers: processes that mix; 0 mixes in this one.
        prefetch: batches that may be ready at once.
    """

    batch_size: int = 20
    steps_per_epoch: int = 500
    validation_mixtures: int = 512
    mixing_workers: int = 1
    prefetch: int = 8


def open_mixtures(
    voices: SplitPool,
    noises: SplitPool,
    features: Features,
    audio: AudioConfig,
    recipe: MixingConfig,
    seed: int,
    settings: MixtureSettings,
) -> tuple[DynamicMixtures, FixedMixtures]:
    """Training and validation batches of mixtures that are drawn on the fly.

    Raises:
        UserError: the recordings are at another rate.
    """
    train, validation = open_mixers(voices, noises, audio, recipe, seed)
    return (
        DynamicMixtures(
            train,
            features,
            settings.batch_size,
            settings.steps_per_epoch,
            settings.mixing_workers,
            settings.prefetch,
        ),
        FixedMixtures(validation, features, settings.batch_size, settings.validation_mixtures),
    )


def open_mixers(
    voices: SplitPool, noises: SplitPool, audio: AudioConfig, recipe: MixingConfig, seed: int
) -> tuple[Mixer, Mixer]:
    """The mixers of training and validation.

    The mixtures of validation are the same for every seed where the recordings are.

    Raises:
        UserError: the recordings are at another rate.
    """
    train, validation = (
        Mixer(
            voices.pool,
            noises.pool,
            audio,
            recipe,
            seed_of_split,
            voices.indices[split],
            noises.indices[split],
        )
        for split, seed_of_split in (("train", seed), ("validation", VALIDATION_SEED))
    )
    return train, validation
