"""Examples of a network's output during its training, as sound and pictures in TensorBoard."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

SHOWN = 3

Enhance = Callable[[keras.Model, np.ndarray], np.ndarray]


class Examples(keras.callbacks.Callback):
    """Write noisy, estimate and clean of validation mixtures every few epochs; TensorFlow only.

    Args:
        folder: of the TensorBoard log.
        waveforms: noisy and clean ones, each (examples, samples).
        sample_rate: Hz.
        enhance: gives the estimate (samples,) that a network makes of a noisy one.
        every: epochs from one time to the next.
    """

    def __init__(
        self,
        folder: Path,
        waveforms: tuple[np.ndarray, np.ndarray],
        sample_rate: int,
        enhance: Enhance,
        every: int,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.waveforms = waveforms
        self.sample_rate = sample_rate
        self.enhance = enhance
        self.every = every

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write them if it is time."""
        if (epoch + 1) % self.every:
            return
        import tensorflow as tf

        writer = tf.summary.create_file_writer(str(self.folder))
        with writer.as_default(epoch):
            for number, (noisy, clean) in enumerate(zip(*self.waveforms, strict=True)):
                estimate = self.enhance(self.model, noisy)
                sounds = {"noisy": noisy, "estimate": estimate, "clean": clean}
                tf.summary.image(f"example_{number}", picture(sounds, self.sample_rate))
                for name, sound in sounds.items():
                    audio = np.clip(sound, -1.0, 1.0)[np.newaxis, :, np.newaxis]
                    tf.summary.audio(f"example_{number}/{name}", audio, self.sample_rate)
        writer.close()


def picture(waveforms: dict[str, np.ndarray], sample_rate: int) -> np.ndarray:
    """Spectrograms of waveforms as an image (1, height, width, 3), 0 to 1."""
    import matplotlib.image

    from speech_enhancement.inference.pictures import comparison_figure

    file = io.BytesIO()
    comparison_figure(waveforms, sample_rate).savefig(file, format="png", dpi=80)
    file.seek(0)
    return np.asarray(matplotlib.image.imread(file, format="png"))[np.newaxis, :, :, :3]
