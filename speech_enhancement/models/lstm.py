"""LSTM: recurrent layers that estimate the noise in each frame of a spectrogram.

In: scaled noisy magnitude, (batch, bins, frames, 1). Out: scaled noise model, same shape.

F. Weninger, H. Erdogan, S. Watanabe, E. Vincent, J. Le Roux, J. Hershey, B. Schuller, "Speech
Enhancement with LSTM Recurrent Neural Networks and its Application to Noise-Robust ASR", LVA/ICA
2015; as a noise predictor, 360 Quality & Efficiency, "Model-Based Audio Denoising Using Deep
Learning for Device Quality Evaluation".
"""

from __future__ import annotations

import functools

import keras
from keras import layers, ops

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
            x = recurrence(units, bidirectional)(x)  # (batch, T, units)
            x = layers.Dropout(dropout)(x)
        x = layers.Dense(rows, activation=self.output_activation(), dtype="float32")(x)
        x = layers.Permute((2, 1), dtype="float32")(x)  # (batch, F, T)
        outputs = layers.Reshape((rows, frames, 1), dtype="float32")(x)
        return keras.Model(inputs, outputs, name="lstm")


def recurrence(units: int, bidirectional: bool) -> layers.Layer:
    """Keras's layer, in one direction or in both: (batch, T, F) -> (batch, T, directions * units).

    On JAX, its loop is replaced: `jax_recurrence.lstm` gives the same, in steps of training that
    take 0.87 of the time (128 frames, batches of 20, two processor cores) and are compiled in two
    thirds of it. Files hold Keras's layer, whichever loop it is trained with.
    """
    layer = layers.LSTM(units, return_sequences=True)
    if bidirectional:
        layer = layers.Bidirectional(layer)
    if keras.backend.backend() == "jax":
        for each in (layer.forward_layer, layer.backward_layer) if bidirectional else (layer,):
            each.inner_loop = functools.partial(run_from_zero, each.cell, each.go_backwards)
    return layer


def run_from_zero(cell, go_backwards: bool, sequences, **_):
    """What stands for `keras.layers.LSTM.inner_loop`, where nobody asks for the last state.

    Args:
        cell: a `keras.layers.LSTMCell` without dropout.
        go_backwards: begin at the last frame, whose output then comes first.
        sequences: (batch, T, F).

    Returns:
        The last output, all outputs, and no states.
    """
    from speech_enhancement.models import jax_recurrence

    if go_backwards:
        sequences = ops.flip(sequences, axis=1)
    projected = ops.moveaxis(ops.matmul(sequences, cell.kernel) + cell.bias, 1, 0)
    outputs = jax_recurrence.lstm(projected, ops.convert_to_tensor(cell.recurrent_kernel))
    return outputs[-1], ops.moveaxis(outputs, 0, 1), []
