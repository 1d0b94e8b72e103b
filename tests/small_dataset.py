"""A stored data set of a few short windows, as data_creation leaves it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from speech_enhancement.config import AudioConfig
from speech_enhancement.signal import dsp

AUDIO = AudioConfig(sample_rate=8000, n_fft=63, hop_length_fft=16, frame_length=512)


def save(folder: Path, audio: AudioConfig = AUDIO, n_train: int = 8, n_validation: int = 4) -> Path:
    """Write tones in white noise, and return the folder of the spectrograms."""
    rng = np.random.default_rng(0)
    total = n_train + n_validation
    cycles = rng.uniform(0.02, 0.2, (total, 1)) * np.arange(audio.frame_length)
    clean = 0.1 * np.sin(2.0 * np.pi * cycles).astype(np.float32)
    noisy = clean + 0.05 * rng.standard_normal(clean.shape).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    for name, waveforms in (("noisy_voice", noisy), ("voice", clean)):
        np.save(folder / f"{name}_timeserie.npy", waveforms)
        decibels = dsp.spectrogram_to_db(dsp.stft(waveforms, audio))
        np.save(folder / f"{name}_amp_db.npy", decibels)
    manifest = {
        "audio": audio.to_dict(),
        "split": {"train": [0, n_train], "validation": [n_train, total]},
        "path_save_time_serie": str(folder),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
