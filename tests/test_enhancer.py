"""The sound core: nothing lost, nothing moved, nothing that depends on the size of a block."""

from __future__ import annotations

import dataclasses
import doctest
import hashlib
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import small_networks
from hypothesis import given, settings
from hypothesis import strategies as st

from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import audio_io
from speech_enhancement.inference import enhancer as enhancer_module
from speech_enhancement.inference.blocks import lead_of
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.signal import dsp
from speech_enhancement.signal.levels import LevelMeter

SHIPPED = sorted((Path(__file__).resolve().parents[1] / "weights").glob("*.onnx"))
RATES = (1000, 8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000)
DTYPES = (np.float16, np.float32, np.float64, np.int8, np.uint8, np.int16, np.int32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def identity(folder):
    return Enhancer.load(small_networks.save_gain(folder, 0.0), threads=1)


@pytest.fixture(scope="module")
def gate(folder):
    """Its output depends on what is around in time and frequency."""
    return Enhancer.load(small_networks.save_gate(folder), threads=1)


@pytest.fixture(scope="module")
def causal(folder):
    """Its output depends on the frame before, through its state."""
    return Enhancer.load(small_networks.save_stream(folder, 0.5), threads=1)


@pytest.fixture(scope="module", params=SHIPPED, ids=lambda path: path.stem)
def shipped_path(request):
    return request.param


@pytest.fixture(scope="module")
def shipped(shipped_path):
    return Enhancer.load(shipped_path, threads=1)


def noise(n_samples, seed=0, level=0.1, channels=None):
    shape = n_samples if channels is None else (channels, n_samples)
    return (level * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def ratio_db(wanted, got):
    """Signal-to-difference ratio, dB."""
    difference = np.square(wanted.astype(float) - got).sum()
    return 10.0 * np.log10(np.square(wanted.astype(float)).sum() / max(difference, 1e-300))


def level_db(sound):
    return 10.0 * np.log10(np.mean(np.square(sound.astype(float))))


def band(sound, rate, low, high):
    """The part of a sound between two frequencies."""
    sections = scipy.signal.butter(6, (low, high), "bandpass", fs=rate, output="sos")
    return scipy.signal.sosfiltfilt(sections, sound)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"network": ""}, "`network` must be a name or a path. Received: ''"),
        ({"threads": 0}, "`threads` must be a whole number above 0. Received: 0"),
        ({"threads": "a"}, "`threads` must be a whole number above 0. Received: 'a'"),
        ({"threads": 1.5}, "`threads` must be a whole number above 0. Received: 1.5"),
    ],
)
def test_wrong_arguments_are_refused_when_a_network_is_loaded(arguments, sentence):
    with pytest.raises(UsageError) as refused:
        Enhancer.load(**{"network": "dpcrn"} | arguments)
    assert str(refused.value) == sentence


class TestShape:
    @settings(max_examples=60, deadline=None)
    @given(
        rate=st.sampled_from(RATES),
        length=st.integers(1, 30_000),
        channels=st.integers(0, 3),
        level=st.integers(-80, 0),
    )
    def test_a_network_that_finds_no_noise_changes_nothing(
        self, identity, rate, length, channels, level
    ):
        sound = noise(length, level=10 ** (level / 20), channels=channels or None)
        enhanced = identity.enhance(sound, rate, channel_axis=0 if channels else None)
        assert enhanced.shape == sound.shape
        assert enhanced.dtype == np.float32
        assert ratio_db(sound, enhanced) > 100

    @settings(max_examples=40, deadline=None)
    @given(
        rate=st.sampled_from(RATES),
        length=st.integers(0, 9_000),
        dtype=st.sampled_from(DTYPES),
        channels=st.integers(1, 4),
        axis=st.sampled_from((0, 1, -1)),
    )
    def test_any_recording_keeps_its_shape_and_stays_finite(
        self, gate, rate, length, dtype, channels, axis
    ):
        sound = noise(length, channels=channels)
        if np.issubdtype(dtype, np.integer):
            info = np.iinfo(dtype)
            middle = 128 if dtype == np.uint8 else 0
            sound = np.clip(sound * info.max + middle, info.min, info.max)
        sound = np.moveaxis(sound.astype(dtype), 0, axis)
        enhanced = gate.enhance(sound, rate, channel_axis=axis)
        assert enhanced.shape == sound.shape
        assert enhanced.dtype == np.float32
        assert np.isfinite(enhanced).all()

    @pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8, ">i2"])
    def test_integers_are_of_full_scale(self, identity, dtype):
        info = np.iinfo(dtype)
        sound = np.linspace(info.min, info.max, 9000).astype(dtype)
        enhanced = identity.enhance(sound, 8000)
        assert np.allclose(enhanced[[0, -1]], [-1.0, 1.0], atol=0.01)

    @pytest.mark.parametrize(
        ("samples", "axis"),
        [
            (np.zeros((2, 9000)), None),
            (np.zeros(9000), 0),
            (np.zeros((2, 9000)), 2),
            (np.zeros((1, 2, 9000)), 0),
            (np.zeros(9000, bool), None),
            (np.zeros(9000, complex), None),
            (np.zeros(9000, object), None),
            (np.zeros(9000, "m8[s]"), None),
            (np.zeros(9000, np.int64), None),  # of 16 bits more often than of 64
            (np.zeros(9000, np.uint16), None),
            ([[1.0], [1.0, 2.0]], None),
        ],
    )
    def test_a_shape_or_type_that_does_not_tell_is_refused(self, identity, samples, axis):
        with pytest.raises(UsageError, match="`samples` must be"):
            identity.enhance(samples, 8000, channel_axis=axis)

    @pytest.mark.parametrize("shape", [(0, 9000), (65, 9000)])
    def test_a_recording_without_channels_or_with_too_many_is_refused(self, identity, shape):
        with pytest.raises(
            UsageError,
            match=f"The number of channels must be between 1 and 64. Received: {shape[0]}",
        ):
            identity.enhance(np.zeros(shape, np.float32), 8000, channel_axis=0)

    @pytest.mark.parametrize("rate", [8000.0, np.float64(8000), np.float32(8000), np.int64(8000)])
    def test_a_rate_is_a_whole_number_of_any_type(self, gate, rate):
        sound = noise(9000)
        np.testing.assert_array_equal(gate.enhance(sound, rate), gate.enhance(sound, 8000))
        stream = gate.stream(rate)
        assert sum(len(part) for part in (stream.feed(sound), stream.flush())) == len(sound)

    @pytest.mark.parametrize("rate", [0, -8000, 999, 10000.5, 10**9, "8000", None, np.nan])
    def test_an_impossible_rate_is_refused(self, identity, rate):
        with pytest.raises(UsageError, match="`rate` must be between 1000"):
            identity.enhance(noise(100), rate)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_what_is_no_number_is_refused(self, identity, value):
        sound = noise(9000)
        sound[4000] = value
        with pytest.raises(UserError, match="NaN or infinite"):
            identity.enhance(sound, 8000)


class TestBlocks:
    @settings(max_examples=12, deadline=None)
    @given(
        rate=st.sampled_from((8000, 16000, 44100)),
        length=st.integers(1, 200_000),
        seed=st.integers(0, 999),
        live=st.booleans(),
        is_causal=st.booleans(),
    )
    def test_blocks_of_any_size_give_the_whole(
        self, gate, causal, rate, length, seed, live, is_causal
    ):
        enhancer = causal if is_causal else gate
        sound = noise(length, seed, channels=2) * np.linspace(0.1, 1, length, dtype=np.float32)
        whole = enhancer.enhance(sound, rate, channel_axis=0)
        meter = LevelMeter(rate, 2)
        meter.feed(sound)
        stream = enhancer.stream(rate, 2, 0, meter.active_rms(), live=live)
        generator, parts, begin = np.random.default_rng(seed), [], 0
        while begin < length:
            size = int(generator.integers(1, 20_000))
            parts.append(stream.feed(sound[:, begin : begin + size]))
            begin += size
        streamed = np.concatenate([*parts, stream.flush()], axis=1)
        assert streamed.shape == whole.shape
        assert ratio_db(whole, streamed) > 100

    def test_each_channel_is_as_if_alone(self, gate):
        sound = noise(50_000, channels=3) * np.array([[1.0], [0.01], [0.3]], np.float32)
        together = gate.enhance(sound, 44100, channel_axis=0)
        for one, channel in zip(sound, together, strict=True):
            assert ratio_db(gate.enhance(one, 44100), channel) > 100

    def test_windows_leave_no_seams(self, folder):
        tone = 0.1 * np.sin(2 * np.pi * 500 * np.arange(80_000) / 8000).astype(np.float32)
        enhancer = Enhancer.load(small_networks.save_gain(folder, 6.0), threads=1)
        assert ratio_db(tone * 10 ** (-6 / 20), enhancer.enhance(tone, 8000)) > 100

    def test_a_causal_network_answers_within_one_stft_window(self, causal):
        stream = causal.stream(16000)
        sound, given_back = noise(16000), 0
        for begin in range(0, len(sound), 100):
            given_back += len(stream.feed(sound[begin : begin + 100]))
            assert given_back >= min(begin + 100, len(sound)) - causal.card.audio.n_fft

    @pytest.mark.parametrize("again", [lambda s: s.feed(np.zeros(100)), lambda s: s.flush()])
    def test_what_comes_after_the_end_is_refused(self, causal, again):
        stream = causal.stream(16000)
        stream.feed(noise(1000))
        assert len(stream.flush()) <= 1000
        with pytest.raises(UsageError, match="This recording has ended"):
            again(stream)

    def test_blocks_with_other_channels_are_refused(self, causal):
        stream = causal.stream(16000, 2, 0)
        with pytest.raises(UsageError, match="Blocks must have 2 channels"):
            stream.feed(np.zeros((3, 100)))

    @pytest.mark.parametrize("rate", [16000, 44100])
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_a_stream_takes_what_is_no_number_for_silence(self, causal, gate, bad, rate):
        for enhancer in (causal, gate):
            sound = noise(20_000)
            silent, damaged = sound.copy(), sound.copy()
            silent[5000:5003], damaged[5000:5003] = 0.0, bad
            streams = [enhancer.stream(rate) for _ in range(2)]
            results = [
                np.concatenate([stream.feed(samples), stream.flush()])
                for stream, samples in zip(streams, (silent, damaged), strict=True)
            ]
            np.testing.assert_array_equal(*results)

    def test_a_state_is_carried_from_frame_to_frame(self, folder):
        previous = Enhancer.load(small_networks.save_stream(folder, 1.0), threads=1)
        hop = previous.card.audio.hop_length_fft
        sound = np.zeros(16000, np.float32)
        sound[3 * hop : 8 * hop] = noise(5 * hop)
        enhanced = previous.enhance(sound, 16000)
        assert ratio_db(sound[:-hop], enhanced[hop:]) > 100  # every frame comes one frame later


class TestLevel:
    @settings(max_examples=20, deadline=None)
    @given(gain_db=st.integers(-40, 20), rate=st.sampled_from((8000, 48000)))
    def test_a_louder_recording_gives_the_same_louder(self, gate, gain_db, rate):
        sound = noise(20_000, level=0.05)
        gain = np.float32(10 ** (gain_db / 20))
        assert ratio_db(gain * gate.enhance(sound, rate), gate.enhance(gain * sound, rate)) > 60

    def test_the_default_network_does_as_well_at_any_level(self, demo_data):
        enhancer = Enhancer.load(demo_data.parent / "weights" / "dpcrn", threads=1)
        noisy, rate = audio_io.load_audio(demo_data / "noisy" / "rain.wav")
        noisy *= np.float32(10 ** (-25 / 20) / dsp.active_rms(noisy, rate))
        quiet = np.float32(10 ** (-35 / 20))
        assert (
            ratio_db(enhancer.enhance(noisy, rate), enhancer.enhance(quiet * noisy, rate) / quiet)
            > 60
        )

    @pytest.mark.parametrize("name", ["dpcrn_offline", "dpcrn"])
    def test_an_offset_is_taken_out_and_changes_little_else(self, demo_data, name):
        enhancer = Enhancer.load(demo_data.parent / "weights" / name, threads=1)
        noisy, rate = audio_io.load_audio(demo_data / "noisy" / "rain.wav")
        enhanced = enhancer.enhance(noisy + np.float32(0.1), rate)
        assert abs(enhanced.mean()) < 1e-3
        # 24 and 29 dB where the networks receive the offset
        assert ratio_db(enhancer.enhance(noisy, rate), enhanced) > 30

    def test_silence_stays_silent(self, gate):
        assert not gate.enhance(np.zeros(20_000), 8000).any()

    @settings(max_examples=30, deadline=None)
    @given(rate=st.sampled_from(RATES), length=st.integers(1, 40_000), pause=st.integers(0, 100))
    def test_the_meter_hears_what_active_rms_hears_without_the_offset(self, rate, length, pause):
        sound = noise(length)
        sound[: length * pause // 101] *= 1e-4
        meter = LevelMeter(rate, 1)
        for begin in range(0, length, 777):
            meter.feed(sound[np.newaxis, begin : begin + 777] + np.float32(0.25))
        frame = dsp.activity_frame(rate)
        padded = np.pad(sound, (0, -length % frame), constant_values=-0.25).reshape(-1, frame)
        padded = padded - padded.mean(axis=1, keepdims=True)
        wanted = dsp.active_rms(padded.reshape(-1), rate)
        assert meter.active_rms()[0] == pytest.approx(wanted, rel=0.01)


class TestLimits:
    @pytest.mark.parametrize(
        ("strength", "limit_db", "wanted_db"),
        [(0.0, None, 0.0), (0.5, None, 6.0), (1.0, 3.0, 3.0), (1.0, 30.0, 12.0), (0.5, 4.0, 4.0)],
    )
    @pytest.mark.parametrize("rate", [8000, 48000])
    def test_strength_and_limit_are_in_decibels(self, folder, strength, limit_db, wanted_db, rate):
        stem = small_networks.save_gain(folder, 12.0)
        enhancer = Enhancer.load(stem, strength=strength, max_attenuation_db=limit_db)
        sound = noise(3 * rate)
        assert ratio_db(sound * 10 ** (-wanted_db / 20), enhancer.enhance(sound, rate)) > 35

    def test_no_strength_changes_nothing_whatever_the_phase(self, folder):
        stem = small_networks.save_stream(folder, 0.5)
        idle = Enhancer.load(stem, strength=0.0)
        sound = noise(30_000)
        assert ratio_db(sound, idle.enhance(sound, 16000)) > 100


class TestBandAbove:
    """A network of 8 kHz on recordings of 48 kHz."""

    rate = 48_000

    def test_a_tone_of_12_khz_falls_with_the_noise(self, folder):
        enhancer = Enhancer.load(small_networks.save_gain(folder, 20.0), threads=1)
        time = np.arange(3 * self.rate) / self.rate
        tone = 0.05 * np.sin(2 * np.pi * 12_000 * time)
        enhanced = enhancer.enhance(noise(len(tone), level=0.02) + tone, self.rate)
        fall = level_db(band(tone, self.rate, 11_900, 12_100)) - level_db(
            band(enhanced, self.rate, 11_900, 12_100)
        )
        assert fall == pytest.approx(20.0, abs=1.0)

    def test_sibilance_survives_and_the_pauses_fall(self, gate):
        loud = np.zeros(4 * self.rate, bool)
        for begin in range(4):
            loud[begin * self.rate : begin * self.rate + self.rate // 5] = True
        hiss = band(noise(len(loud), level=0.3), self.rate, 2500, 12_000) * loud
        sound = (hiss + noise(len(loud), seed=1, level=0.002)).astype(np.float32)
        before = band(sound, self.rate, 5000, 12_000)
        after = band(gate.enhance(sound, self.rate), self.rate, 5000, 12_000)
        assert level_db(after[loud]) == pytest.approx(level_db(before[loud]), abs=1.0)
        pause = ~np.convolve(loud, np.ones(self.rate // 5), "same").astype(bool)
        assert level_db(after[pause]) < level_db(before[pause]) - 10.0

    @pytest.mark.parametrize("rate", [11_025, 16_000, 44_100, 48_000])
    @pytest.mark.parametrize("attenuation_db", [0.0, 12.0])
    def test_the_spectrum_has_no_hole_at_the_networks_nyquist(self, folder, rate, attenuation_db):
        enhancer = Enhancer.load(small_networks.save_gain(folder, attenuation_db), threads=1)
        sound = noise(6 * rate)
        spectra = [
            scipy.signal.welch(x, rate, nperseg=512)[1]
            for x in (sound, enhancer.enhance(sound, rate))
        ]
        fall_db = 10.0 * np.log10(spectra[0] / spectra[1])[2:-2]
        assert np.abs(fall_db - attenuation_db).max() < 1.0

    def test_a_network_of_a_higher_rate_leaves_no_hole_either(self, folder):
        enhancer = Enhancer.load(small_networks.save_stream(folder, 0.0), threads=1)
        sound = noise(30_000)
        assert ratio_db(sound, enhancer.enhance(sound, 11_025)) > 100


def test_the_examples_of_the_documentation_run(monkeypatch):
    monkeypatch.chdir(Path(enhancer_module.__file__).parent)
    names = {"samples": noise(9000), "stereo": noise(9000, channels=2), "rate": 44100}
    names["blocks"] = np.split(names["samples"], 9)
    results = doctest.testmod(enhancer_module, extraglobs=names)
    assert results.attempted >= 6
    assert not results.failed


def test_a_magnitude_is_never_raised(folder):
    louder = Enhancer.load(small_networks.save_gain(folder, -12.0), threads=1)
    sound = noise(20_000)
    assert ratio_db(sound, louder.enhance(sound, 8000)) > 100


class TestShippedNetworks:
    """Those of weights/, each of a rate of its own, on recordings of 48 kHz."""

    rate = 48_000
    # Few filters along the samples hardly tell a hiss of the voice from one of noise.
    weak = ("conv1d",)

    def test_a_tone_of_12_khz_in_noise_without_speech_falls(self, shipped):
        tone = 0.02 * np.sin(2 * np.pi * 12_000 * np.arange(2 * self.rate) / self.rate)
        enhanced = shipped.enhance(noise(len(tone), level=0.02) + tone, self.rate)
        before, after = (level_db(band(x, self.rate, 11_900, 12_100)) for x in (tone, enhanced))
        assert after < before - (7.0 if shipped.card.model in self.weak else 10.0)

    def test_sibilance_of_speech_falls_less_than_its_pauses(self, shipped, speech):
        clean = speech(self.rate, 3.0)
        noisy = clean + noise(len(clean)) * np.float32(2 * np.sqrt(np.mean(clean**2)))
        frames = [
            np.square(band(x, self.rate, 5000, 7900)).reshape(-1, 960).mean(axis=1)
            for x in (clean, noisy, shipped.enhance(noisy, self.rate))
        ]
        hissing = frames[0] > np.quantile(frames[0], 0.9)
        pause = frames[0] < np.quantile(frames[0], 0.3)
        lost_db = 10 * np.log10(frames[0][hissing].mean() / frames[2][hissing].mean())
        fallen_db = 10 * np.log10(frames[1][pause].mean() / frames[2][pause].mean())
        is_weak = shipped.card.model in self.weak
        assert lost_db < (7.0 if is_weak else 4.0)
        assert fallen_db > max(3.0, lost_db + (0.0 if is_weak else 0.5))

    def test_the_number_of_threads_leaves_no_trace(self, shipped, shipped_path):
        sound = noise(40_000)
        triple = Enhancer.load(shipped_path, threads=3)
        assert np.array_equal(shipped.enhance(sound, 8000), triple.enhance(sound, 8000))

    def test_keras_gives_what_onnx_gives(self, shipped, shipped_path):
        if shipped.card.streaming:
            pytest.skip("a state needs ONNX")
        sound = noise(12_000)
        twin = Enhancer.load(shipped_path, runtime="keras", threads=1)
        assert ratio_db(shipped.enhance(sound, 8000), twin.enhance(sound, 8000)) > 60

    def test_a_state_needs_onnx(self, causal, folder):
        stem = small_networks.save_stream(folder, 0.25)
        data = b"a network"
        stem.with_name(stem.name + ".keras").write_bytes(data)
        digest = {".keras": hashlib.sha256(data).hexdigest()}
        card = dataclasses.replace(causal.card, sha256=digest)
        card.save(stem.with_name(stem.name + ".json"))
        with pytest.raises(UserError, match="use --runtime onnx"):
            Enhancer.load(stem, runtime="keras")


class TestWindowOverlap:
    @pytest.mark.parametrize("overlap", [0.0, 0.1, 0.5])
    def test_nothing_is_lost_and_nothing_depends_on_the_size_of_a_block(
        self, folder, gate, overlap
    ):
        sound = noise(30_011)
        identity = Enhancer.load(
            small_networks.save_gain(folder, 0.0), threads=1, window_overlap=overlap
        )
        assert ratio_db(sound, identity.enhance(sound, 8000)) > 100
        gate = Enhancer(gate.network, gate.card, window_overlap=overlap)
        whole = gate.stream(8000)
        wanted = np.concatenate([whole.feed(sound), whole.flush()])
        stream = gate.stream(8000)
        parts = [stream.feed(sound[begin : begin + 777]) for begin in range(0, len(sound), 777)]
        assert np.array_equal(np.concatenate([*parts, stream.flush()]), wanted)

    def test_clicks_between_windows_are_there_without_overlap_only(self):
        time = np.arange(160_000) / 16000
        hum = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 8))
        sound = (0.05 * hum).astype(np.float32) + noise(len(time), level=0.003)
        steps_db = {}
        for overlap in (0.0, None):
            enhancer = Enhancer.load("conv1d", threads=1, window_overlap=overlap)
            audio = enhancer.card.audio
            changed = enhancer.enhance(sound, audio.sample_rate) - sound
            begin = audio.frame_length - lead_of(audio)
            seams = np.arange(begin, len(sound), audio.frame_length)
            steps = np.square(np.diff(changed, prepend=changed[:1]))
            steps_db[overlap] = 10.0 * np.log10(steps[seams].mean() / steps.mean())
        assert steps_db[0.0] > 10.0
        assert steps_db[None] < 3.0

    @pytest.mark.parametrize("overlap", [-0.1, 0.51, np.nan])
    def test_an_overlap_out_of_range_is_refused(self, overlap):
        with pytest.raises(UsageError, match=r"`window_overlap` must be between 0 and 0\.5"):
            Enhancer.load("conv1d", window_overlap=overlap)

    @pytest.mark.parametrize("name", ["dpcrn", "dpcrn_offline"])
    def test_it_is_refused_where_there_are_no_windows(self, name, demo_data, run_main, tmp_path):
        outcome = run_main(
            *(demo_data / "noisy" / "alarm.wav", "--name_model", name, "--window_overlap", "0"),
            *("--dir_save_prediction", tmp_path),
        )
        assert outcome.code == 2
        assert "networks that process windows, such as model_unet and conv1d" in outcome.err
        assert not list(tmp_path.iterdir())

    def test_another_overlap_is_another_result(self, demo_data, run_main, tmp_path):
        command = (
            *(demo_data / "noisy" / "insects.wav", "--name_model", "conv1d"),
            *("--dir_save_prediction", tmp_path),
        )
        results = []
        for option in ([], ["--window_overlap", "0"]):
            outcome = run_main(*command, *option, "--overwrite")
            assert outcome.code == 0, outcome.err
            results.append((tmp_path / "insects.wav").read_bytes())
        assert results[0] != results[1]
