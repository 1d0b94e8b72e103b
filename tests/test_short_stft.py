"""The STFT of many short waveforms, against the definition in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech_enhancement.config import WINDOWS, AudioConfig
from speech_enhancement.signal import dsp
from speech_enhancement.signal.short_stft import LONGEST_PRODUCT, ShortSTFT


def by_definition(waveforms, audio):
    """Sum of windowed samples times complex exponentials, frame by frame."""
    half = audio.n_fft // 2
    padded = np.pad(waveforms.astype(np.float64), ((0, 0), (half, 2 * audio.n_fft)))
    window = dsp.stft_window(audio.window, audio.n_fft).astype(np.float64)
    turns = np.outer(np.arange(audio.n_bins), np.arange(audio.n_fft)) / audio.n_fft
    frames = np.stack(
        [
            padded[:, t * audio.hop_length_fft :][:, : audio.n_fft] * window
            for t in range(audio.frames_of(waveforms.shape[1]))
        ],
        axis=-1,
    )
    return np.exp(-2j * np.pi * turns) @ frames


@given(
    n_fft=st.integers(4, 90),
    hop=st.integers(1, 45),
    n_samples=st.integers(90, 400),
    window=st.sampled_from(WINDOWS),
    seed=st.integers(0, 99),
)
def test_it_is_the_stft(n_fft, hop, n_samples, window, seed):
    audio = AudioConfig(8000, n_fft, min(hop, n_fft // 2), n_samples, window)
    waveforms = np.random.default_rng(seed).standard_normal((3, n_samples)).astype(np.float32)
    real, imaginary = ShortSTFT(audio)(waveforms)
    assert real.shape == imaginary.shape == (3, audio.n_bins, audio.n_frames)
    np.testing.assert_allclose(
        real + 1j * imaginary, by_definition(waveforms, audio), atol=1e-5 * n_fft
    )


@pytest.mark.parametrize("n_fft", [255, 256, LONGEST_PRODUCT, LONGEST_PRODUCT + 1, 512])
def test_long_and_short_frames_agree_with_the_fft(rng, n_fft):
    audio = AudioConfig(n_fft=n_fft)
    waveforms = rng.standard_normal((2, audio.frame_length)).astype(np.float32)
    real, imaginary = ShortSTFT(audio)(waveforms)
    assert real.flags.c_contiguous and real.dtype == imaginary.dtype == np.float32
    np.testing.assert_allclose(real + 1j * imaginary, dsp.stft(waveforms, audio), atol=1e-4)
