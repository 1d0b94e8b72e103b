"""The windows that a training or a search learns from: stored ones, or mixtures drawn meanwhile."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from speech_enhancement import places
from speech_enhancement.config import AudioConfig
from speech_enhancement.corpora import pools
from speech_enhancement.corpora import preparation as corpora
from speech_enhancement.corpora.preparation import SplitPool
from speech_enhancement.datasets import device, dynamic, stored
from speech_enhancement.datasets.dynamic import MixtureSettings
from speech_enhancement.errors import UsageError
from speech_enhancement.files.paths import PathFields
from speech_enhancement.mixing.recipe import MixingConfig
from speech_enhancement.signal.features import Features

Folders = Path | Sequence[Path] | None

COMPILED = "compiled"  # in the folder of pools, what JAX has compiled


class TrainingData:
    """Where windows come from; one subclass for each way.

    Class attributes to declare:
        kind: what the option `--data` calls it.
        loud_weight: share of a bin's weight in the loss that follows the loudness of the voice.
    """

    kind: ClassVar[str]
    loud_weight: float = 0.0

    def audio(self, given: Mapping[str, Any], default: AudioConfig) -> AudioConfig:
        """The geometry of the windows.

        Args:
            given: fields of `AudioConfig` that are wanted, by name.
            default: the geometry where nothing else decides.

        Raises:
            UserError: the windows cannot be read.
            UsageError: the windows do not have what is wanted, or it does not go together.
        """
        raise NotImplementedError

    def open(
        self, features: Features, audio: AudioConfig, batch_size: int, seed: int
    ) -> tuple[Any, Any]:
        """Training and validation batches.

        Args:
            features: what the network sees and must give.
            audio: what `audio` gave.
            batch_size: windows in a batch.
            seed: seed of their order, or of what is drawn.

        Raises:
            UserError: the data set is unfinished, or voices or noises are missing.
            UsageError: something of this does not fit the features, or is missing.
        """
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """What the windows depend on, by the names of the options."""
        raise NotImplementedError

    def identity(self, batch_size: int, seed: int) -> dict[str, Any]:
        """What a training or a search that goes on must have in common with what it began as."""
        return {
            "data": self.kind,
            "batch_size": batch_size,
            "seed": seed,
            "loud_weight": self.loud_weight,
            **self.facts(),
        }


@dataclasses.dataclass(frozen=True)
class StoredData(TrainingData):
    """Windows that `create_data` has stored.

    Args:
        folders: folder of the spectrograms and their manifest, or several of one geometry.
        max_windows: train on this many windows only; on all of them by default.
        max_validation_windows: validate on this many windows only.
        loud_weight: see `TrainingData`, 0 to 1; only for magnitudes without mel bands.
    """

    kind: ClassVar[str] = "stored"
    folders: Folders
    max_windows: int | None = None
    max_validation_windows: int | None = None
    loud_weight: float = 0.0

    def audio(self, given: Mapping[str, Any], default: AudioConfig) -> AudioConfig:
        """See `TrainingData.audio`; that of the windows, whatever the default."""
        folders = paths_of(self.folders)
        audio = stored.common_audio(folders, [stored.load_manifest(folder) for folder in folders])
        for name, value in given.items():
            if value != getattr(audio, name):
                raise UsageError(
                    f"`{name}` of the windows in {folders[0]} is {getattr(audio, name)}. "
                    f"Received: {value}"
                )
        return audio

    def open(
        self, features: Features, audio: AudioConfig, batch_size: int, seed: int
    ) -> tuple[Any, Any]:
        """See `TrainingData.open`."""
        self.check_loud_weight(features)
        folders = paths_of(self.folders)
        train = stored.StoredWindows(
            folders,
            "train",
            features,
            batch_size,
            limit=self.max_windows,
            shuffle_seed=seed,
            loud_weight=self.loud_weight,
        )
        limit = self.max_validation_windows
        return train, stored.StoredWindows(folders, "validation", features, batch_size, limit=limit)

    def check_loud_weight(self, features: Features) -> None:
        """Weights of bins need magnitudes and an output for each of them.

        Raises:
            UsageError: there is a weight where it cannot be.
        """
        weighable = features.representation not in ("complex", "waveform") and not features.n_mels
        if self.loud_weight and not weighable:
            raise UsageError(
                "`loud_weight` must be 0 except for a model of magnitudes without mel bands. "
                f"Received: {self.loud_weight}"
            )

    def identity(self, batch_size: int, seed: int) -> dict[str, Any]:
        """See `TrainingData.identity`; other windows in the same folder are others."""
        digests = [stored.digest_of(folder) for folder in paths_of(self.folders)]
        return super().identity(batch_size, seed) | {"windows": digests}

    def facts(self) -> dict[str, Any]:
        """See `TrainingData.facts`."""
        return {
            "path_save_spectrogram": _told(self.folders),
            "max_windows": self.max_windows,
            "max_validation_windows": self.max_validation_windows,
        }


@dataclasses.dataclass(frozen=True)
class MixedData(PathFields, TrainingData):
    """Mixtures of voices and noises, drawn while the network learns.

    Args:
        voice_dir, noise_dir: folders or packs of clean voices and of noises.
        voice_dir_validation, noise_dir_validation: what to validate with; by default a part of the
            others.
        validation_split, noise_classes, split_noises_by, min_duration, workers, cache_dir: see
            `Preparation`.
        recipe: how a mixture is drawn.
        steps_per_epoch, validation_mixtures, mixing_workers, prefetch: see `MixtureSettings`.
    """

    kind: ClassVar[str] = "dynamic"
    voice_dir: Folders = None
    noise_dir: Folders = None
    voice_dir_validation: Folders = None
    noise_dir_validation: Folders = None
    validation_split: float = 0.1
    noise_classes: Sequence[str] | None = None
    split_noises_by: str = "file"
    min_duration: float = 0.0
    workers: int = 1
    cache_dir: Path = places.WORK / "data/cache"
    recipe: MixingConfig = dataclasses.field(default_factory=MixingConfig)
    steps_per_epoch: int = 500
    validation_mixtures: int = 512
    mixing_workers: int = 1
    prefetch: int = 8

    def audio(self, given: Mapping[str, Any], default: AudioConfig) -> AudioConfig:
        """See `TrainingData.audio`."""
        return dataclasses.replace(default, **given)

    def open(
        self, features: Features, audio: AudioConfig, batch_size: int, seed: int
    ) -> tuple[Any, Any]:
        """See `TrainingData.open`."""
        voices, noises = self.open_sources(audio.sample_rate, seed)
        settings = self.settings(batch_size)
        return dynamic.open_mixtures(voices, noises, features, audio, self.recipe, seed, settings)

    def settings(self, batch_size: int) -> MixtureSettings:
        """How many mixtures there are, and who draws them."""
        return MixtureSettings(
            batch_size,
            self.steps_per_epoch,
            self.validation_mixtures,
            self.mixing_workers,
            self.prefetch,
        )

    def open_sources(self, sample_rate: int, seed: int) -> tuple[SplitPool, SplitPool]:
        """Voices and noises; what cannot be used of them is named on stderr.

        Args:
            sample_rate: that they are decoded to, Hz.
            seed: of the split.

        Raises:
            UserError: a folder is missing or holds nothing that can be used.
            UsageError: there are no voices or noises.
        """
        for name in ("voice_dir", "noise_dir"):
            if not getattr(self, name):
                raise UsageError(f"`{name}` is needed for --data {self.kind}. Received: none")
        preparation = self.preparation(sample_rate, seed)
        voices = corpora.open_voices(
            paths_of(self.voice_dir), preparation, paths_of(self.voice_dir_validation)
        )
        noises = corpora.open_noises(
            paths_of(self.noise_dir), preparation, paths_of(self.noise_dir_validation)
        )
        pools.report_bad([voices.pool, noises.pool])
        return voices, noises

    def preparation(self, sample_rate: int, seed: int) -> corpora.Preparation:
        """How the recordings are decoded and parted; see `open_sources`."""
        return corpora.Preparation(
            sample_rate,
            self.cache_dir,
            seed=seed,
            validation_split=self.validation_split,
            split_noises_by=self.split_noises_by,
            noise_classes=self.noise_classes,
            min_duration=self.min_duration,
            workers=self.workers,
        )

    def facts(self) -> dict[str, Any]:
        """See `TrainingData.facts`."""
        folders = ("voice_dir", "noise_dir", "voice_dir_validation", "noise_dir_validation")
        values = ("validation_split", "noise_classes", "split_noises_by", "min_duration")
        counts = ("steps_per_epoch", "validation_mixtures")
        recipe = [field.name for field in MixingConfig.options()]
        return {
            **{name: _told(getattr(self, name)) for name in folders},
            **{name: getattr(self, name) for name in (*values, *counts)},
            **{f"mix_{name}": getattr(self.recipe, name) for name in recipe},
        }


@dataclasses.dataclass(frozen=True)
class DeviceData(MixedData):
    """Mixtures of voices and noises that the accelerator draws itself; Keras's JAX backend only.

    Args: those of `MixedData`, of which `mixing_workers` and `prefetch` have no effect.
    """

    kind: ClassVar[str] = "device"

    def open(
        self, features: Features, audio: AudioConfig, batch_size: int, seed: int
    ) -> tuple[Any, Any]:
        """See `TrainingData.open`."""
        device.require_jax()
        device.keep_compiled(self.cache_dir / COMPILED)
        voices, noises = self.open_sources(audio.sample_rate, seed)
        settings = self.settings(batch_size)
        return device.open_mixtures(voices, noises, features, audio, self.recipe, seed, settings)


def paths_of(folders: Folders) -> list[Path]:
    """Folders as a list, whether there are none, one or several."""
    if folders is None:
        return []
    return [Path(folders)] if isinstance(folders, str | Path) else [Path(each) for each in folders]


def _told(folders: Folders) -> Path | list[Path] | None:
    """Folders in the form of a single path if there is only one."""
    several = paths_of(folders)
    return several if len(several) > 1 else next(iter(several), None)
