"""The batches that training and tuning learn from, as the options describe them."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from speech_enhancement import registry
from speech_enhancement.cli import args
from speech_enhancement.config import AudioConfig
from speech_enhancement.corpora import pools
from speech_enhancement.corpora import preparation as corpora
from speech_enhancement.datasets import dynamic
from speech_enhancement.datasets import stored as dataset
from speech_enhancement.datasets.dynamic import MixtureSettings
from speech_enhancement.errors import UsageError
from speech_enhancement.mixing.recipe import MixingConfig
from speech_enhancement.models.base import DenoisingHyperModel
from speech_enhancement.signal.features import Features

SHARED = ("batch_size", "seed", "loud_weight")
DATA = {
    "stored": ("path_save_spectrogram", "max_windows", "max_validation_windows"),
    "dynamic": (
        *("voice_dir", "noise_dir", "voice_dir_validation", "noise_dir_validation"),
        *("validation_split", "noise_classes", "split_noises_by", "min_duration"),
        *("steps_per_epoch", "validation_mixtures"),
        *(f"mix_{field.name}" for field in MixingConfig.options()),
    ),
}


def identity(options: argparse.Namespace) -> dict[str, Any]:
    """What a training or a search that goes on must have in common with what it began as."""
    values = {name: getattr(options, name) for name in ("data", *SHARED, *DATA[options.data])}
    return {
        # A single folder is told as one, as by trainings that knew no others.
        name: value[0]
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], Path)
        else value
        for name, value in values.items()
    }


def audio_of_data(options: argparse.Namespace, default: AudioConfig | None = None) -> AudioConfig:
    """The geometry of the stored windows, or for mixtures on the fly that which the options say.

    Args:
        options: the command line.
        default: the geometry of mixtures where the options say nothing; the model's own by default.

    Raises:
        UserError: data_creation has not finished.
        UsageError: the options ask for another geometry than that of the stored windows.
    """
    if options.data == "dynamic":
        model_class = registry.resolve(registry.MODELS, "model", options.model)
        return args.audio_config(options, default or model_class.default_audio)
    folders = options.path_save_spectrogram
    audio = dataset.common_audio(folders, [dataset.load_manifest(folder) for folder in folders])
    for name in args.AUDIO_OPTIONS:
        given, stored = getattr(options, name), getattr(audio, name)
        if given not in (None, stored):
            raise UsageError(
                f"`{name}` of the windows in {folders[0]} is {stored}. Received: {given}"
            )
    return audio


def make_datasets(options: argparse.Namespace, hyper_model: DenoisingHyperModel) -> tuple[Any, Any]:
    """Training and validation batches.

    Raises:
        UserError: the data set is unfinished, or voices or noises are missing.
        UsageError: `loud_weight` does not fit.
    """
    check_loud_weight(options, hyper_model.features)
    if options.data == "dynamic":
        voices, noises = open_sources(options, hyper_model.audio.sample_rate)
        return dynamic.open_mixtures(
            voices,
            noises,
            hyper_model.features,
            hyper_model.audio,
            recipe_of(options),
            options.seed,
            MixtureSettings(
                **{f.name: getattr(options, f.name) for f in dataclasses.fields(MixtureSettings)}
            ),
        )
    shared = (hyper_model.features, options.batch_size)
    folders = options.path_save_spectrogram
    return (
        dataset.StoredWindows(
            folders,
            "train",
            *shared,
            limit=options.max_windows,
            shuffle_seed=options.seed,
            loud_weight=options.loud_weight,
        ),
        dataset.StoredWindows(folders, "validation", *shared, limit=options.max_validation_windows),
    )


def open_sources(
    options: argparse.Namespace, sample_rate: int
) -> tuple[corpora.SplitPool, corpora.SplitPool]:
    """Voices and noises; what cannot be used of them is named on stderr.

    Raises:
        UserError: a folder is missing or holds nothing that can be used.
        UsageError: an option is missing.
    """
    for name in ("voice_dir", "noise_dir"):
        if getattr(options, name) is None:
            raise UsageError(f"`{name}` is needed for --data dynamic. Received: none")
    preparation = corpora.Preparation(sample_rate, **args.preparation_values(options))
    voices = corpora.open_voices(options.voice_dir, preparation, options.voice_dir_validation or ())
    noises = corpora.open_noises(options.noise_dir, preparation, options.noise_dir_validation or ())
    pools.report_bad([voices.pool, noises.pool])
    return voices, noises


def recipe_of(options: argparse.Namespace) -> MixingConfig:
    """The recipe that the `--mix_...` options describe.

    Raises:
        UsageError: a value is out of its range.
    """
    return MixingConfig(**args.recipe_values(options))


def check_loud_weight(options: argparse.Namespace, features: Features) -> None:
    """Weights of bins need stored magnitudes and an output for each of them."""
    weighable = features.representation not in ("complex", "waveform") and not features.n_mels
    if options.loud_weight and not (weighable and options.data == "stored"):
        raise UsageError(
            "`loud_weight` must be 0 but for --data stored and a model of magnitudes without mel "
            f"bands. Received: {options.loud_weight}"
        )
