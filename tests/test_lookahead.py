"""Recordings through networks that are bidirectional in time: in parts as in one pass."""

from __future__ import annotations

import keras_tuner
import numpy as np
import onnxruntime
import pytest
from conftest import REPOSITORY

from speech_enhancement.config import AudioConfig
from speech_enhancement.errors import UsageError
from speech_enhancement.inference import enhancer as enhancers
from speech_enhancement.inference import runtime
from speech_enhancement.inference.blocks import FrameDenoiser, GainLimits
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.models import dpcrn
from speech_enhancement.signal.features import Features

AUDIO = AudioConfig(16000, 512, 256, 32000, "sqrt_hann")
RUN, LOOKAHEAD = 40, 10
SMALL = {
    **{"channels": 16, "core_channels": 16, "core_bands": 16, "core_blocks": 2},
    **{"time_units": 32, "bidirectional": True},
}
N_FRAMES = 60


def neighbours(spectra):
    """A network that gives the mean of three frames, one of them to come."""
    padded = np.pad(spectra, [(0, 0), (1, 1), (0, 0), (0, 0)])
    return (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3.0


def denoised(sound, *sizes, network=neighbours, run=RUN):
    """The sound that comes out, fed in blocks of the sizes in turn."""
    denoiser = FrameDenoiser(
        *(runtime.ContextNetwork(network), Features("complex", "clean"), AUDIO, len(sound)),
        *(GainLimits(), None, run, LOOKAHEAD),
    )
    parts, begin = [], 0
    while begin < sound.shape[1]:
        size = sizes[len(parts) % len(sizes)]
        parts.append(denoiser.feed(sound[:, begin : begin + size]).clean)
        begin += size
    return np.concatenate([*parts, denoiser.flush().clean], axis=-1)


@pytest.mark.parametrize("n_samples", [1, 255, 256, 10239, 10240, 12801, 33600, 48000, 70001])
def test_parts_give_what_one_pass_gives(rng, n_samples):
    sound = 0.1 * rng.standard_normal((2, n_samples)).astype(np.float32)
    parts = denoised(sound, n_samples)
    whole = denoised(sound, n_samples, run=10_000)
    assert parts.shape == whole.shape == sound.shape
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_bytes_do_not_depend_on_the_sizes_of_what_is_fed(rng):
    sound = 0.1 * rng.standard_normal((2, 70_000)).astype(np.float32)
    wanted = denoised(sound, 70_000).tobytes()
    assert denoised(sound, 1000, 17, 30_000).tobytes() == wanted


def test_a_network_that_changes_nothing_gives_the_sound_back(rng):
    sound = 0.1 * rng.standard_normal((1, 16000 * 12)).astype(np.float32)
    same = denoised(sound, 160_000, network=lambda spectra: spectra)
    np.testing.assert_allclose(same, sound, atol=1e-6)


def test_no_more_frames_than_a_run_and_what_follows_it_are_given_at_once(rng):
    given = []

    def network(spectra):
        given.append(spectra.shape[1])
        return spectra

    denoised(0.1 * rng.standard_normal((1, 200_000)).astype(np.float32), 7000, network=network)
    assert max(given) <= runtime.CONTEXT_FRAMES + RUN + LOOKAHEAD


def test_context_stands_in_for_states(rng):
    """A network without states is given the frames before, as many as there are."""
    spectra = rng.standard_normal((1, N_FRAMES, 5, 2)).astype(np.float32)
    network = runtime.ContextNetwork(neighbours)
    first, state = network.step(spectra[:, :30], network.initial_state(), 20)
    second, _ = network.step(spectra[:, 20:], state)
    joined = np.concatenate([first[:, :20], second], axis=1)
    np.testing.assert_allclose(joined, neighbours(spectra), atol=1e-6)


@pytest.fixture(scope="module")
def graph():
    """A small network that is bidirectional in time, in ONNX Runtime."""
    hp = keras_tuner.HyperParameters()
    hp.values = dict(SMALL)
    hyper_model = dpcrn.DPCRN()
    model = hyper_model.network(hp)
    twin = hyper_model.onnx_graph(model).SerializeToString()
    session = onnxruntime.InferenceSession(twin, providers=["CPUExecutionProvider"])
    return runtime.OnnxStreamingNetwork(session)


def test_the_forward_direction_is_exact_from_part_to_part(graph, rng):
    """With all that follows looked ahead at, two parts equal one pass."""
    spectra = 0.1 * rng.standard_normal((1, N_FRAMES, 257, 2)).astype(np.float32)
    whole, _ = graph.step(spectra, graph.initial_state())
    first, state = graph.step(spectra, graph.initial_state(), 20)
    second, _ = graph.step(spectra[:, 20:], state)
    np.testing.assert_allclose(first, whole, atol=1e-7)
    np.testing.assert_allclose(second, whole[:, 20:], atol=1e-5)


def test_a_state_that_is_left_out_changes_the_result(graph, rng):
    spectra = 0.1 * rng.standard_normal((1, N_FRAMES, 257, 2)).astype(np.float32)
    _, state = graph.step(spectra, graph.initial_state(), 20)
    after, _ = graph.step(spectra[:, 20:], state)
    anew, _ = graph.step(spectra[:, 20:], graph.initial_state())
    assert np.abs(after - anew).max() > 1e-4


def test_the_shipped_network_gives_in_parts_what_it_gives_in_one_pass(
    shipped_offline, speech, rng, monkeypatch
):
    """45 dB is what a listener cannot tell apart; the parts are 3 s here, 7 s by default."""
    clean = speech(16000, 12.0)
    noisy = (clean + 0.2 * np.std(clean) * rng.standard_normal(len(clean))).astype(np.float32)
    whole = shipped_offline.enhance(noisy, 16000)
    monkeypatch.setattr(enhancers, "RUN_S", 3.0)
    monkeypatch.setattr(enhancers, "LOOKAHEAD_S", 3.0)
    parts = shipped_offline.enhance(noisy, 16000)
    error_db = 20 * np.log10(np.linalg.norm(parts - whole) / np.linalg.norm(whole))
    assert -200 < error_db < -45


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
