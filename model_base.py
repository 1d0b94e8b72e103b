"""What every model has in common: a Keras Tuner HyperModel that says how it hears.

A model is one file with one subclass. It declares its audio geometry, its features and its loss,
and draws its network in `network`; its hyper-parameter defaults are the published network, so
that training builds them as they are and tuning searches around them.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import keras_tuner

import registry
from config import AudioConfig
from features import Features


class DenoisingHyperModel(keras_tuner.HyperModel):
    """Builds and compiles one kind of network.

    Args:
        audio: geometry of the training windows; the model's own by default.
        features: representation, target and scaling; the model's own by default.
        loss: name in `registry.LOSSES`; the model's own by default, tunable when not given.

    Class attributes to declare:
        default_audio, default_features, default_loss: the published choice.
        losses: names that fit the target, for tuning.
        level_dbfs: see `card.ModelCard`.
        streaming: whether the network is causal and carries a state.
    """

    default_audio: ClassVar[AudioConfig] = AudioConfig()
    default_features: ClassVar[Features] = Features()
    default_loss: ClassVar[str] = "huber"
    losses: ClassVar[tuple[str, ...]] = ("huber", "log_cosh", "mse", "mae")
    level_dbfs: ClassVar[float | None] = -25.0
    streaming: ClassVar[bool] = False
    learning_rate: ClassVar[float] = 1e-3

    def __init__(
        self,
        audio: AudioConfig | None = None,
        features: Features | None = None,
        loss: str | None = None,
    ) -> None:
        super().__init__()
        self.audio = audio or self.default_audio
        self.features = features or self.default_features
        self.loss = loss
        self.decay_steps: int | None = None

    def network(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """The network, not compiled, for the hyper-parameters `hp`."""
        raise NotImplementedError

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """The network, compiled with Adam and the chosen loss."""
        model = self.network(hp)
        name = self.loss or hp.Choice("loss", list(self.losses), default=self.default_loss)
        rate = hp.Float("learning_rate", 1e-5, 1e-2, sampling="log", default=self.learning_rate)
        if self.decay_steps:
            rate = keras.optimizers.schedules.CosineDecay(rate, self.decay_steps)
        model.compile(
            optimizer=self.optimizer(rate),
            loss=registry.resolve(registry.LOSSES, "loss", name)(),
            metrics=self.metrics(),
            jit_compile=keras.backend.backend() == "jax",
        )
        return model

    def deployed(self, model: keras.Model) -> keras.Model:
        """The network in the shape that prediction runs; the trained one unless overridden."""
        return model

    def optimizer(self, learning_rate: Any) -> keras.optimizers.Optimizer:
        """The optimizer; Adam unless a model needs another."""
        return keras.optimizers.Adam(learning_rate)

    def metrics(self) -> list[Any]:
        """Keras metrics to log beside the loss."""
        return []
