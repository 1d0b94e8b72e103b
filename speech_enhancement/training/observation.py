"""How a network that is trained does on validation mixtures: scores, and examples to listen to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from speech_enhancement.config import AudioConfig
from speech_enhancement.errors import UserError
from speech_enhancement.scoring import scorer
from speech_enhancement.signal.features import Features
from speech_enhancement.training import callbacks, examples


def scoring_callback(validation: Any, every: int, mixtures: int) -> callbacks.ScoreNetwork | None:
    """Scores of validation mixtures, if asked.

    Args:
        validation: validation batches.
        every: epochs from one scoring to the next; 0 for none.
        mixtures: how many of them are scored.

    Raises:
        UserError: something that scores need is not installed.
    """
    if not every:
        return None
    noisy, clean = validation.waveforms(mixtures)
    audio = validation.audio
    # What scores need shall be missed now, not after the first epoch.
    scorer.score_pairs(lambda sound: sound, [(clean[0], noisy[0])], audio.sample_rate)

    def scores(model: keras.Model) -> dict[str, float]:
        def enhance(waveform: np.ndarray) -> np.ndarray:
            return denoised(model, waveform, validation.features, audio)

        return scorer.score_pairs(enhance, zip(clean, noisy, strict=True), audio.sample_rate)

    return callbacks.ScoreNetwork(scores, ("si_sdr", "pesq"), every)


def examples_callback(
    validation: Any, every: int, run_folder: Path
) -> list[keras.callbacks.Callback]:
    """Examples of validation mixtures, where TensorBoard is and if asked.

    Args:
        validation: validation batches.
        every: epochs from one time to the next; 0 for never.
        run_folder: of the training.
    """
    if not every or keras.backend.backend() != "tensorflow":
        return []
    try:
        waveforms = validation.waveforms(examples.SHOWN)
    except UserError as error:  # only the spectrograms of the windows were kept
        print(f"note: examples could not be written to TensorBoard: {error}", file=sys.stderr)
        return []

    def enhance(model: keras.Model, waveform: np.ndarray) -> np.ndarray:
        return denoised(model, waveform, validation.features, validation.audio)

    folder = run_folder / callbacks.TENSORBOARD / "examples"
    return [
        examples.Examples(folder, waveforms, validation.audio.sample_rate, enhance, every),
    ]


def denoised(
    model: keras.Model, waveform: np.ndarray, features: Features, audio: AudioConfig
) -> np.ndarray:
    """What a network makes of a waveform (samples,)."""

    def network(batch: np.ndarray) -> np.ndarray:
        return keras.ops.convert_to_numpy(model(batch, training=False))

    return features.denoise(waveform[np.newaxis], network, audio)[0]
