"""What every model has in common: a Keras Tuner HyperModel with its input and target.

A model is one file with one subclass. It declares its audio geometry, its features and its loss,
and builds its network in `network`; its hyper-parameter defaults are the published network, so
that training builds them as they are and tuning searches around them.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import keras
import keras_tuner

from speech_enhancement import registry
from speech_enhancement.config import AudioConfig
from speech_enhancement.errors import UsageError
from speech_enhancement.models import losses
from speech_enhancement.signal.features import MAGNITUDES, Features

FEATURE_OPTIONS = ("representation", "target", "exponent", "n_mels")
EXTRA_OPTIONS = ("backbone", "pretrained")
OPTIONS = (*FEATURE_OPTIONS, *EXTRA_OPTIONS, "loss")


class DenoisingHyperModel(keras_tuner.HyperModel):
    """Builds and compiles one kind of network.

    Args:
        audio: geometry of the training windows; the model's own by default.
        features: representation, target and scaling; the model's own by default.
        loss: name in `registry.LOSSES`; the model's own by default, tunable when not given.

    Class attributes to declare:
        default_audio, default_features, default_loss: the published choice.
        losses: names that fit the network; those that fit its target by default.
        level_dbfs: see `card.ModelCard`.
        streaming: whether the network is causal and carries a state, where that is the same for
            all hyper-parameters (see `is_streaming`).
        extra_options: those of `EXTRA_OPTIONS` that its constructor takes besides.

    Raises:
        UsageError: the features are not ones that the network can have, or do not fit the audio;
            or the loss does not fit the target.
    """

    default_audio: ClassVar[AudioConfig] = AudioConfig()
    default_features: ClassVar[Features] = Features()
    default_loss: ClassVar[str] = "huber"
    losses: ClassVar[tuple[str, ...]] = ()
    level_dbfs: ClassVar[float | None] = -25.0
    streaming: ClassVar[bool] = False
    extra_options: ClassVar[tuple[str, ...]] = ()
    onnx_packages: ClassVar[tuple[str, ...]] = ("tensorflow", "tf2onnx", "onnx")
    learning_rate: ClassVar[float] = 1e-3

    def __init__(
        self,
        audio: AudioConfig | None = None,
        features: Features | None = None,
        loss: str | None = None,
    ) -> None:
        super().__init__(name=registry.name_of(registry.MODELS, type(self)))
        self.audio = audio or self.default_audio
        self.features = (features or self.default_features).fitted_to(self.audio)
        self.loss = loss
        self._check_representation()
        self._check_audio()
        self._check_loss()
        self.decay_steps: int | None = None

    def network(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """The network, not compiled, for the hyper-parameters `hp`."""
        raise NotImplementedError

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """The network, compiled with Adam and the chosen loss.

        Raises:
            UsageError: the windows are too short for the network or the loss.
        """
        model = self.network(hp)
        name = self.loss or self._choose_loss(hp)
        loss = registry.resolve(registry.LOSSES, "loss", name)(**self.loss_options(hp, name))
        shortest = getattr(loss, "shortest_window", 0)
        if self.audio.frame_length < shortest:
            raise UsageError(
                f"`frame_length` must be at least {shortest} for the loss `{name}`. "
                f"Received: {self.audio.frame_length}"
            )
        rate = hp.Float("learning_rate", 1e-5, 1e-2, sampling="log", default=self.learning_rate)
        if self.decay_steps:
            rate = keras.optimizers.schedules.CosineDecay(rate, self.decay_steps)
        model.compile(
            optimizer=self.optimizer(rate),
            loss=loss,
            metrics=self.metrics(),
            jit_compile=keras.backend.backend() == "jax",
        )
        return model

    def fit(
        self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **keywords: Any
    ) -> Any:
        """What a search does with a network: `model.fit`, on data that have been attached."""
        attach = getattr(args[0], "attach", None) if args else None
        if attach:
            attach(model, keywords["validation_data"])
        return model.fit(*args, **keywords)

    def is_streaming(self, model: keras.Model) -> bool:
        """Whether a network that `build` made is causal and carries a state."""
        return self.streaming

    def onnx_graph(self, model: keras.Model) -> Any:
        """An `onnx.ModelProto` to ship in place of Keras's own export of the network; or none."""
        return None

    def step_network(
        self, hp: keras_tuner.HyperParameters, n_frames: int | None = 1
    ) -> keras.Model:
        """A network that streams, with its state as inputs and outputs; not trained.

        Args:
            hp: hyper-parameters of the network.
            n_frames: spectrogram frames in one call; open if none.

        Returns:
            A network from `spectrum` (1, frames, bins, 2) and `state_K`, zeros at first, to a
            dictionary of `enhanced` and the `next_state_K`; its layers have the names of those of
            `network`.
        """
        raise NotImplementedError

    def loss_options(self, hp: keras_tuner.HyperParameters, name: str) -> dict[str, Any]:
        """What the loss of a name is made with; its own defaults unless a model says otherwise."""
        return {}

    def optimizer(self, learning_rate: Any) -> keras.optimizers.Optimizer:
        """The optimizer; Adam unless a model needs another."""
        return keras.optimizers.Adam(learning_rate)

    def metrics(self) -> list[Any]:
        """Keras metrics to log beside the loss: the same for every loss, so that a search can
        compare networks that were trained with different ones."""
        if self.features.target == "noise_mask":
            return []
        return [losses.SignalToNoiseRatio(name="snr")]

    @property
    def objective(self) -> tuple[str, str]:
        """What a search compares networks by, and whether it should be `max` or `min`."""
        return ("val_snr", "max") if self.metrics() else ("val_loss", "min")

    def fitting_losses(self) -> tuple[str, ...]:
        """Names of the losses that fit the network's output."""
        return self.losses or registry.LOSSES_OF_TARGET[self.features.target]

    def output_activation(self, noise_db: str = "linear", clean: str = "linear") -> str:
        """The last activation: that of the target, and a sigmoid for masks."""
        return {"noise_db": noise_db, "clean": clean}.get(self.features.target, "sigmoid")

    def require_sides(self, stride: int) -> None:
        """Refuse spectrograms that are too small for a network that halves their sides.

        Raises:
            UsageError: bins or frames are fewer than `stride`.
        """
        rows, frames = self.input_shape[:2]
        if min(rows, frames) < stride:
            raise UsageError(
                f"`{self.name}` needs spectrograms of at least {stride} x {stride}. "
                f"Received: {rows} x {frames}"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one training window as the network sees it."""
        return self.features.input_shape(self.audio)

    def _choose_loss(self, hp: keras_tuner.HyperParameters) -> str:
        """The loss that `hp` says, the model's own by default."""
        names = self.fitting_losses()
        default = self.default_loss if self.default_loss in names else names[0]
        return hp.Choice("loss", list(names), default=default)

    def _check_representation(self) -> None:
        """A network of spectrogram magnitudes takes either kind of them, another only its own."""
        own = self.default_features.representation
        allowed = MAGNITUDES if own in MAGNITUDES else (own,)
        if self.features.representation not in allowed:
            raise UsageError(
                f"`representation` of `{self.name}` must be one of {', '.join(allowed)}. "
                f"Received: {self.features.representation}"
            )

    def _check_audio(self) -> None:
        """Refuse a geometry that the network cannot have; most can have any."""

    def _check_loss(self) -> None:
        """Refuse a loss that cannot compare the network's output with its target."""
        if self.loss and self.loss not in self.fitting_losses():
            raise UsageError(
                f"`loss` of `{self.name}` for the target `{self.features.target}` must be one of "
                f"{', '.join(self.fitting_losses())}. Received: {self.loss}"
            )


def make(
    model: str, audio: AudioConfig | None = None, loss: str | None = None, **design: Any
) -> DenoisingHyperModel:
    """The HyperModel of a kind of network.

    Args:
        model: name in `registry.MODELS`.
        audio: geometry of the training windows; the model's own by default.
        loss: name in `registry.LOSSES`; the model's own by default.
        design: values of `FEATURE_OPTIONS` and of `EXTRA_OPTIONS`; the model's own by default.

    Raises:
        UsageError: there is no such model, or something does not fit it.
    """
    model_class = registry.resolve(registry.MODELS, "model", model)
    chosen = {name: value for name, value in design.items() if name in FEATURE_OPTIONS}
    features = dataclasses.replace(model_class.default_features, **chosen)
    extra = {name: value for name, value in design.items() if name not in FEATURE_OPTIONS}
    for name, value in extra.items():
        if name not in model_class.extra_options:
            raise UsageError(f"`{name}` is not an option of `{model}`. Received: {value}")
    return model_class(audio=audio, features=features, loss=loss, **extra)
