"""LSTM: recurrent layers that estimate the noise in each frame of a spectrogram.

In: scaled noisy magnitude, (batch, bins, frames, 1). Out: scaled noise model, same shape.

F. Weninger, H. Erdogan, S. Watanabe, E. Vincent, J. Le Roux, J. Hershey, B. Schuller, "Speech
Enhancement with LSTM Recurrent Neural Networks and its Application to Noise-Robust ASR", LVA/ICA
2015; as a noise predictor, 360 Quality & Efficiency, "Model-Based Audio Denoising Using Deep
Learning for Device Quality Evaluation".
"""

from __future__ import annotations

import keras
from keras import layers

from speech_enhancement.models.base import DenoisingHyperModel


class StackedLSTM(DenoisingHyperModel):
    """Two layers of 192 units in each direction, 1.4 M parameters.

    Both directions by default: a window is there as a whole, and a memory that only runs forward
    is empty at its first frames.
    """

    def network(self, hp) -> keras.Model:
        """See `DenoisingHyperModel.network`."""
        units = hp.Choice("units", [64, 128, 192, 256, 384], default=192)
        n_layers = hp.Int("layers", 1, 4, default=2)
        bidirectional = hp.Boolean("bidirectional", default=True)
        dropout = hp.Float("dropout", 0.0, 0.5, step=0.1, default=0.0)

        rows, frames, _ = self.input_shape
        inputs = keras.Input(self.input_shape, name="noisy")
        x = layers.Reshape((rows, frames))(inputs)
        x = layers.Permute((2, 1))(x)  # (batch, T, F)
        for _ in range(n_layers):
            layer = layers.LSTM(units, return_sequences=True)
            x = (layers.Bidirectional(layer) if bidirectional else layer)(x)  # (batch, T, units)
            x = layers.Dropout(dropout)(x)
        x = layers.Dense(rows, activation=self.output_activation(), dtype="float32")(x)
        x = layers.Permute((2, 1))(x)  # (batch, F, T)
        outputs = layers.Reshape((rows, frames, 1))(x)
        return keras.Model(inputs, outputs, name="lstm")
