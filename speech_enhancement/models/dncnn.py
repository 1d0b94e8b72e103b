"""DnCNN: a stack of convolutions at full resolution that estimates the noise in a spectrogram.

In: scaled noisy magnitude, (batch, bins, frames, 1). Out: scaled noise model, same shape (residual
learning), or with `--target clean` the scaled clean magnitude.

K. Zhang, W. Zuo, Y. Chen, D. Meng, L. Zhang, "Beyond a Gaussian Denoiser: Residual Learning of
Deep CNN for Image Denoising", IEEE TIP 2017; dropout, L2 and log-cosh after the NoiseNil report,
2025.
"""

from __future__ import annotations

import keras
from keras import layers

from speech_enhancement.models.base import DenoisingHyperModel


class DnCNN(DenoisingHyperModel):
    """The published shape, at the size that a CPU trains: 10 layers of 32 filters.

    17 layers of 64 filters, as published, are within the range; they cost 9.1 G multiply-adds per
    patch of 128 x 128, the default 1.2 G. Dropout is in every block but at rest by default: with
    more data than weights it only blurs.
    """

    default_loss = "log_cosh"

    def network(self, hp) -> keras.Model:
        """See `DenoisingHyperModel.network`."""
        filters = hp.Choice("filters", [16, 24, 32, 48, 64], default=32)
        depth = hp.Int("depth", 3, 20, default=10)
        dropout = hp.Float("dropout", 0.0, 0.5, step=0.05, default=0.0)
        l2 = hp.Choice("l2", [0.0, 1e-7, 1e-6, 1e-5, 1e-4], default=1e-7)

        inputs = keras.Input(self.input_shape, name="noisy")
        x = convolution(inputs, filters, l2, use_bias=True)  # (batch, F, T, filters)
        x = layers.ReLU()(x)
        for _ in range(depth - 2):
            x = convolution(x, filters, l2, use_bias=False)
            x = layers.BatchNormalization()(x)
            x = layers.ReLU()(x)
            x = layers.Dropout(dropout)(x)
        x = convolution(x, 1, l2, use_bias=True)
        outputs = layers.Activation(self.output_activation(), dtype="float32")(x)
        return keras.Model(inputs, outputs, name="dncnn")


def convolution(x, filters: int, l2: float, use_bias: bool):
    """A 3x3 convolution whose weights are kept small."""
    return layers.Conv2D(
        filters,
        3,
        padding="same",
        use_bias=use_bias,
        kernel_initializer="he_normal",
        kernel_regularizer=keras.regularizers.L2(l2),
    )(x)
