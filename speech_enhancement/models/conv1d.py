"""Conv1D: a few convolutions over the samples of a waveform, with an embedding of their positions.

In: noisy waveform, (batch, samples, 1), 1 s at 16 kHz. Out: clean waveform, same shape.

H. Yurdakul, "Supervised Audio Denoising", 2025: three convolutions, 1-32-32-1, and an embedding of
time added after the first. Its next steps are options here: skip connections, convolutions at
several scales (A. van den Oord et al., "WaveNet", 2016), and with `--loss multi_res_stft` a loss of
spectra. The sinusoids are those of A. Vaswani et al., "Attention Is All You Need", 2017.
"""

from __future__ import annotations

import math

import keras
from keras import layers, ops

from speech_enhancement.config import AudioConfig
from speech_enhancement.models.base import DenoisingHyperModel
from speech_enhancement.signal.features import Features

KERNEL = 9
EMBEDDING = 32
SLOWEST = 10000.0
DILATIONS = (1, 4, 16, 64)


class Conv1D(DenoisingHyperModel):
    """The article's network by default, 11 969 parameters."""

    default_audio = AudioConfig(16000, 512, 128, 16000)
    default_features = Features(representation="waveform", target="waveform")
    default_loss = "mse"

    def network(self, hp) -> keras.Model:
        """See `DenoisingHyperModel.network`."""
        filters = hp.Choice("filters", [16, 32, 64], default=32)
        depth = hp.Int("depth", 1, 8, default=1)
        time = hp.Choice("time", ["position", "random"], default="position")
        skips = hp.Boolean("skip_connections", default=False)
        multi_scale = hp.Boolean("multi_scale", default=False)

        inputs = keras.Input(self.input_shape, name="noisy")
        embedding = TimeEmbedding(EMBEDDING, time)(inputs)
        embedding = layers.Dense(EMBEDDING, activation="relu")(embedding)
        embedding = layers.Dense(filters)(embedding)
        x = layers.Conv1D(filters, KERNEL, padding="same")(inputs)  # (batch, samples, filters)
        x = layers.ReLU()(layers.Add()([x, embedding]))
        for _ in range(depth):
            y = convolution(x, filters, DILATIONS if multi_scale else (1,))
            x = layers.Add()([x, y]) if skips else y
        # With skip connections it starts as the identity: each adds to the variance, and the first
        # outputs of a stack of them would be far louder than any recording.
        start = "zeros" if skips else "glorot_uniform"
        last = layers.Conv1D(1, KERNEL, padding="same", kernel_initializer=start, dtype="float32")
        outputs = last(x)
        if skips:  # around all of it too, so that what is drawn is the noise
            outputs = layers.Subtract(dtype="float32")([inputs, outputs])
        return keras.Model(inputs, outputs, name="conv1d")


def convolution(x, filters: int, dilations: tuple[int, ...]):
    """A convolution and its ReLU, its filters shared out among the dilations."""
    parts = [
        layers.Conv1D(filters // len(dilations), KERNEL, padding="same", dilation_rate=dilation)(x)
        for dilation in dilations
    ]
    return layers.ReLU()(layers.Concatenate()(parts) if len(parts) > 1 else parts[0])


@keras.saving.register_keras_serializable("speech_enhancement")
class TimeEmbedding(layers.Layer):
    """Sines and cosines of a time t in 0..1, which gives the network's filters a sense of when.

    With `position`, t is where a sample lies in its window: the network can treat the ends, which
    have one neighbour only, differently from the middle, and equal windows sound equal wherever in
    a recording they are. With `random`, t is drawn anew for each window in training, as the
    article has it, and is 1/2 at prediction, so that prediction gives the same result each time.

    Args:
        size: sines and cosines together, an even number.
        time: `position` or `random`.
    """

    def __init__(self, size: int, time: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.time = time
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, waveform, training=False):
        """(batch, samples, 1) -> (1, samples, size), or (batch, 1, size) for a drawn time."""
        steps = ops.arange(self.size // 2, dtype="float32")
        rates = ops.exp(steps * (-math.log(SLOWEST) / (self.size // 2)))
        angles = self.times(waveform, training) * rates
        return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)

    def times(self, waveform, training: bool):
        """The time of each sample, or of the whole window, one number on the last axis."""
        if self.time == "position":
            samples = ops.shape(waveform)[1]
            return ops.arange(samples, dtype="float32")[None, :, None] / samples
        if training:
            return keras.random.uniform((ops.shape(waveform)[0], 1, 1), seed=self.seed_generator)
        return ops.full((1, 1, 1), 0.5)

    def get_config(self) -> dict:
        """See `keras.layers.Layer.get_config`."""
        return {**super().get_config(), "size": self.size, "time": self.time}
