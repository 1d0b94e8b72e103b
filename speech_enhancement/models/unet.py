"""U-Net: an autoencoder with skip connections that estimates the noise in a spectrogram.

In: scaled noisy magnitude in dB, (batch, bins, frames, 1). Out: scaled noise model, same shape.

O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015; for sound, A. Jansson et al., ISMIR 2017; for this noise model and
these sizes, V. Belz, "Speech-enhancement with deep learning", 2020.
"""

from __future__ import annotations

import keras
from keras import layers

from speech_enhancement.models.base import DenoisingHyperModel


class UNet(DenoisingHyperModel):
    """The reference network by default: five levels of two convolutions, 1.94 M parameters."""

    learning_rate = 5e-4

    def network(self, hp) -> keras.Model:
        """See `DenoisingHyperModel.network`; sides are padded to a multiple of the pooling."""
        base_filters = hp.Choice("base_filters", [8, 16, 24, 32], default=16)
        depth = hp.Int("depth", 2, 5, default=4)
        dropout = hp.Float("dropout", 0.0, 0.6, step=0.1, default=0.5)

        self.require_sides(2**depth)
        inputs = keras.Input(self.input_shape, name="noisy")
        padding = [(0, -side % 2**depth) for side in self.input_shape[:2]]
        x = layers.ZeroPadding2D(padding)(inputs)
        skips = []
        for level in range(depth + 1):
            x = double_convolution(x, base_filters * 2**level)  # (batch, F/2^l, T/2^l, C*2^l)
            if level >= depth - 1:
                x = layers.Dropout(dropout)(x)
            if level < depth:
                skips.append(x)
                x = layers.MaxPooling2D(2)(x)
        for level in reversed(range(depth)):
            x = layers.UpSampling2D(2)(x)
            x = convolution(x, base_filters * 2**level, kernel_size=2)
            x = layers.Concatenate()([skips.pop(), x])
            x = double_convolution(x, base_filters * 2**level)
        x = convolution(x, 2)
        activation = self.output_activation(noise_db="tanh")
        # From an output near zero; at the ends of the tanh, large networks would stay there.
        start = keras.initializers.RandomNormal(stddev=0.01)
        x = layers.Conv2D(1, 1, activation=activation, kernel_initializer=start, dtype="float32")(x)
        outputs = layers.Cropping2D(padding, dtype="float32")(x)
        return keras.Model(inputs, outputs, name="unet")


def convolution(x, filters: int, kernel_size: int = 3):
    """One convolution and its LeakyReLU."""
    x = layers.Conv2D(filters, kernel_size, padding="same", kernel_initializer="he_normal")(x)
    return layers.LeakyReLU()(x)


def double_convolution(x, filters: int):
    """Two 3x3 convolutions."""
    return convolution(convolution(x, filters), filters)
