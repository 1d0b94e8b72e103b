"""ResNet: residual blocks at full resolution that estimate the noise in a spectrogram.

In: scaled noisy magnitude, (batch, bins, frames, 1). Out: scaled noise model, same shape.

K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016; as a
noise predictor, 360 Quality & Efficiency, "Model-Based Audio Denoising Using Deep Learning for
Device Quality Evaluation".
"""

from __future__ import annotations

import keras
from keras import layers

from speech_enhancement.models.base import DenoisingHyperModel

DILATION_CYCLE = 4


class ResNet(DenoisingHyperModel):
    """Six blocks of two convolutions of 24 filters: 1.0 G multiply-adds per 128 x 128 window."""

    def network(self, hp) -> keras.Model:
        """See `DenoisingHyperModel.network`; dilation widens the receptive field at no cost."""
        filters = hp.Choice("filters", [16, 24, 32, 48, 64], default=24)
        blocks = hp.Int("blocks", 2, 16, default=6)
        dilated = hp.Boolean("dilated", default=False)

        inputs = keras.Input(self.input_shape, name="noisy")
        x = convolution(inputs, filters)  # (batch, F, T, filters)
        x = layers.ReLU()(x)
        for index in range(blocks):
            x = residual_block(x, filters, 2 ** (index % DILATION_CYCLE) if dilated else 1)
        x = layers.Conv2D(1, 1, dtype="float32")(x)
        outputs = layers.Activation(self.output_activation(), dtype="float32")(x)
        return keras.Model(inputs, outputs, name="resnet")


def residual_block(x, filters: int, dilation: int):
    """Two convolutions, and a way past them, which is all that a new block starts with.

    P. Goyal et al., "Accurate, Large Minibatch SGD", 2017, for the zeros: else every block doubles
    the variance, and the first thousands of windows go into taking that back.
    """
    y = layers.ReLU()(convolution(x, filters, dilation))
    y = convolution(y, filters, dilation, gamma="zeros")
    return layers.ReLU()(layers.Add()([x, y]))


def convolution(x, filters: int, dilation: int = 1, gamma: str = "ones"):
    """A 3x3 convolution and its batch normalisation."""
    x = layers.Conv2D(
        filters,
        3,
        padding="same",
        dilation_rate=dilation,
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    return layers.BatchNormalization(gamma_initializer=gamma)(x)
