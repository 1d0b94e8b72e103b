"""What a training or a search makes networks of, as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras_tuner

from speech_enhancement import registry
from speech_enhancement.config import AudioConfig
from speech_enhancement.files.paths import PathFields
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.models import base
from speech_enhancement.models.base import DenoisingHyperModel
from speech_enhancement.training import hyperparameters


@dataclasses.dataclass(frozen=True)
class Design(PathFields):
    """A kind of network, and what is chosen about it; the rest is the model's own.

    Args:
        model: name in `registry.MODELS`.
        representation, target, exponent, n_mels: see `Features`.
        loss: name in `registry.LOSSES`, which must fit the target.
        backbone, pretrained: see the models that have them in their `extra_options`.
        audio: fields of `AudioConfig` by name.
        hyperparameters: values by name, which take precedence over those of the file.
        hyperparameters_file: JSON file of hyper-parameters, as `tune` writes it.
    """

    model: str = "unet"
    representation: str | None = None
    target: str | None = None
    exponent: float | None = None
    n_mels: int | None = None
    loss: str | None = None
    backbone: str | None = None
    pretrained: str | None = None
    audio: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    hyperparameters_file: Path | None = None

    @property
    def given(self) -> dict[str, Any]:
        """What is chosen of `base.OPTIONS`, by name."""
        values = {name: getattr(self, name) for name in base.OPTIONS}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def default_audio(self) -> AudioConfig:
        """The model's own geometry.

        Raises:
            UsageError: there is no such model.
        """
        return registry.resolve(registry.MODELS, "model", self.model).default_audio

    def with_features_of(self, card: ModelCard) -> Design:
        """The same design with the features of a network where none are chosen."""
        features = {name: getattr(card.features, name) for name in base.FEATURE_OPTIONS}
        return dataclasses.replace(self, **features | self._chosen_features())

    def make(self, audio: AudioConfig) -> DenoisingHyperModel:
        """The HyperModel for windows of a geometry.

        Raises:
            UsageError: something that is chosen does not fit the model.
        """
        return base.make(self.model, audio, **self.given)

    def choose_hyperparameters(
        self, hyper_model: DenoisingHyperModel
    ) -> keras_tuner.HyperParameters:
        """The hyper-parameters that are chosen; see `hyperparameters.choose` for what it raises."""
        return hyperparameters.choose(hyper_model, self.hyperparameters_file, self.hyperparameters)

    def _chosen_features(self) -> dict[str, Any]:
        """What is chosen of the features."""
        return {name: value for name, value in self.given.items() if name in base.FEATURE_OPTIONS}
