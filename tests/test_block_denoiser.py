"""Recordings in long overlapping blocks: as in one pass, whatever the sizes of what is fed."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import REPOSITORY

from speech_enhancement.config import AudioConfig
from speech_enhancement.errors import UsageError
from speech_enhancement.inference import block_denoiser
from speech_enhancement.inference.block_denoiser import BlockDenoiser
from speech_enhancement.inference.blocks import GainLimits
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.signal.features import Features

AUDIO = AudioConfig(16000, 512, 256, 32000, "sqrt_hann")


def neighbours(spectra):
    """A network that gives the mean of three frames, one of them to come."""
    padded = np.pad(spectra, [(0, 0), (1, 1), (0, 0), (0, 0)])
    return (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3.0


def denoised(sound, *sizes, network=neighbours):
    """The sound that comes out, fed in blocks of the sizes in turn."""
    denoiser = BlockDenoiser(
        network, Features("complex", "clean"), AUDIO, len(sound), GainLimits(), None
    )
    parts, begin = [], 0
    while begin < sound.shape[1]:
        size = sizes[len(parts) % len(sizes)]
        parts.append(denoiser.feed(sound[:, begin : begin + size]).clean)
        begin += size
    return np.concatenate([*parts, denoiser.flush().clean], axis=-1)


@pytest.fixture
def short_blocks(monkeypatch):
    monkeypatch.setattr(block_denoiser, "BLOCK_S", 1.2)
    monkeypatch.setattr(block_denoiser, "CONTEXT_S", 0.3)
    monkeypatch.setattr(block_denoiser, "FADE_S", 0.1)


@pytest.mark.parametrize("n_samples", [1, 255, 256, 19199, 19200, 19201, 33600, 48000, 70001])
def test_blocks_give_what_one_pass_gives(short_blocks, monkeypatch, rng, n_samples):
    sound = 0.1 * rng.standard_normal((2, n_samples)).astype(np.float32)
    blocks = denoised(sound, n_samples)
    monkeypatch.setattr(block_denoiser, "BLOCK_S", 10.0)
    whole = denoised(sound, n_samples)
    assert blocks.shape == whole.shape == sound.shape
    np.testing.assert_allclose(blocks, whole, atol=1e-6)


def test_bytes_do_not_depend_on_the_sizes_of_what_is_fed(short_blocks, rng):
    sound = 0.1 * rng.standard_normal((2, 70_000)).astype(np.float32)
    wanted = denoised(sound, 70_000).tobytes()
    assert denoised(sound, 1000, 17, 30_000).tobytes() == wanted


def test_a_network_that_changes_nothing_gives_the_sound_back(rng):
    sound = 0.1 * rng.standard_normal((1, 16000 * 65)).astype(np.float32)
    same = denoised(sound, 160_000, network=lambda spectra: spectra)
    np.testing.assert_allclose(same, sound, atol=1e-6)


def test_memory_holds_no_more_than_a_few_blocks(short_blocks, rng):
    denoiser = BlockDenoiser(neighbours, Features("complex", "clean"), AUDIO, 1, GainLimits(), None)
    for _ in range(50):
        denoiser.feed(0.1 * rng.standard_normal((1, 8000)).astype(np.float32))
        assert denoiser._sound.shape[1] < 3 * 1.2 * AUDIO.sample_rate


def test_live_sound_is_refused_with_the_name_of_a_network_that_streams(shipped_offline):
    with pytest.raises(UsageError, match=r"weights/dpcrn`\. Received: a `dpcrn` that needs whole"):
        shipped_offline.stream(16000)
    assert shipped_offline.stream(16000, live=False) is not None


def test_streaming_mode_refuses_it_in_one_sentence(run_main):
    command = ["--mode", "streaming", "-", "--raw_format", "s16,16000"]
    outcome = run_main(*command, "--name_model", "dpcrn_offline")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1 and "needs a network that streams" in outcome.err


@pytest.fixture(scope="module")
def shipped_offline():
    return Enhancer.load(REPOSITORY / "weights" / "dpcrn_offline", threads=1)
