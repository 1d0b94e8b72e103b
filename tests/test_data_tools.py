import os
import stat

import numpy as np
import pytest
import scipy.signal
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from speech_enhancement.config import AudioConfig
from speech_enhancement.errors import UserError
from speech_enhancement.files import atomic, audio_io
from speech_enhancement.signal import dsp

GEOMETRIES = [
    AudioConfig(n_fft=255, hop_length_fft=63),
    AudioConfig(n_fft=256, hop_length_fft=64),
    AudioConfig(n_fft=512, hop_length_fft=128),
    AudioConfig(sample_rate=16000, n_fft=512, hop_length_fft=256, window="sqrt_hann"),
]


def signal_to_error_db(reference, estimate):
    reference, estimate = np.float64(reference), np.float64(estimate)
    error = np.sum((reference - estimate) ** 2)
    return 10 * np.log10(np.sum(reference**2) / max(error, 1e-30))


def identify(config):
    return f"{config.n_fft}/{config.hop_length_fft} {config.window}"


class TestStft:
    @pytest.mark.parametrize("config", GEOMETRIES, ids=identify)
    def test_equals_scipy(self, config, speech):
        waveform = speech(8000, 1.0)
        window = scipy.signal.get_window("hann", config.n_fft, fftbins=True)
        if config.window == "sqrt_hann":
            window = np.sqrt(window)
        reference = scipy.signal.ShortTimeFFT(
            window, config.hop_length_fft, fs=1, mfft=config.n_fft, phase_shift=None
        )
        expected = reference.stft(waveform, p0=0, p1=config.frames_of(len(waveform)))
        np.testing.assert_allclose(dsp.stft(waveform, config), expected, atol=2e-5)

    def test_a_full_scale_sine_has_the_sum_of_half_the_window(self):
        config = AudioConfig(n_fft=256, hop_length_fft=64)
        waveform = np.sin(2 * np.pi * 32 / 256 * np.arange(2048)).astype(np.float32)
        magnitude = np.abs(dsp.stft(waveform, config))
        assert magnitude[32, 10] == pytest.approx(dsp.stft_window("hann", 256).sum() / 2)

    @pytest.mark.parametrize("config", GEOMETRIES, ids=identify)
    def test_shape_and_type(self, config, rng):
        waveforms = rng.standard_normal((2, 3, 1000))
        spectrogram = dsp.stft(waveforms, config)
        assert spectrogram.shape == (2, 3, config.n_bins, config.frames_of(1000))
        assert spectrogram.dtype == np.complex64

    @pytest.mark.parametrize("config", GEOMETRIES, ids=identify)
    def test_a_batch_is_its_waveforms(self, config, rng):
        waveforms = rng.standard_normal((3, 1500)).astype(np.float32)
        batch = dsp.stft(waveforms, config)
        alone = np.stack([dsp.stft(waveform, config) for waveform in waveforms])
        np.testing.assert_array_equal(batch, alone)

    def test_the_input_is_left_as_it_was(self, rng):
        waveform = rng.standard_normal(1000).astype(np.float32)
        before = waveform.copy()
        dsp.istft(dsp.stft(waveform, AudioConfig()), AudioConfig(), 1000)
        np.testing.assert_array_equal(waveform, before)


class TestRoundTrip:
    @given(
        n_fft=st.integers(2, 700),
        n_samples=st.integers(1, 6000),
        window=st.sampled_from(["hann", "sqrt_hann"]),
        seed=st.integers(0, 2**32),
        data=st.data(),
    )
    def test_white_noise_comes_back(self, n_fft, n_samples, window, seed, data):
        hop = data.draw(st.integers(1, n_fft // 2))
        config = AudioConfig(n_fft=n_fft, hop_length_fft=hop, frame_length=700, window=window)
        waveform = np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32)
        back = dsp.istft(dsp.stft(waveform, config), config, n_samples)
        assert back.dtype == np.float32
        assert back.shape == (n_samples,)
        assert signal_to_error_db(waveform, back) > 100

    @pytest.mark.parametrize("config", GEOMETRIES, ids=identify)
    @pytest.mark.parametrize("seconds", [0.01, 1.008, 3.1])
    def test_speech_comes_back(self, config, seconds, speech):
        waveform = speech(config.sample_rate, seconds)
        back = dsp.istft(dsp.stft(waveform, config), config, len(waveform))
        assert signal_to_error_db(waveform, back) > 100

    def test_a_filtered_spectrogram_gives_the_nearest_waveform(self, rng):
        config = AudioConfig()
        spectrogram = dsp.stft(rng.standard_normal(8064), config)
        spectrogram *= rng.uniform(size=spectrogram.shape)
        nearest = dsp.istft(spectrogram, config, 8064)
        distance = np.linalg.norm(dsp.stft(nearest, config) - spectrogram)
        for _ in range(5):
            other = nearest + 0.01 * rng.standard_normal(8064).astype(np.float32)
            assert np.linalg.norm(dsp.stft(other, config) - spectrogram) > distance

    def test_values_of_frames_become_a_smooth_curve(self):
        config = AudioConfig(n_fft=256, hop_length_fft=64)
        constant = dsp.frames_to_samples(np.full(40, 0.5, np.float32), config, 2000)
        np.testing.assert_allclose(constant, 0.5, rtol=1e-5)


class TestFrame:
    def test_the_tail_is_padded_not_dropped(self):
        windows = dsp.frame(np.arange(1, 11, dtype=np.float32), 4, 4)
        np.testing.assert_array_equal(windows, [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 0, 0]])

    def test_no_window_of_padding_alone(self):
        assert len(dsp.frame(np.ones(8, np.float32), 4, 4)) == 2

    def test_a_short_waveform_is_one_window(self):
        np.testing.assert_array_equal(dsp.frame(np.ones(2, np.float32), 4, 1), [[1, 1, 0, 0]])

    @given(n=st.integers(0, 200), length=st.integers(1, 40), hop=st.integers(1, 40))
    def test_every_sample_that_a_window_can_reach_is_in_one(self, n, length, hop):
        waveform = np.arange(1, n + 1, dtype=np.float32)
        windows = dsp.frame(waveform, length, hop)
        begins = hop * np.arange(len(windows))
        padded = np.pad(waveform, (0, begins[-1] + length))
        for begin, window in zip(begins, windows, strict=True):
            np.testing.assert_array_equal(window, padded[begin : begin + length])
        assert begins[-1] + length >= n


@given(n_frames=st.integers(1, 20), length=st.integers(1, 30), hop=st.integers(1, 30))
def test_overlap_add_sums_every_frame_at_its_place(n_frames, length, hop):
    frames = np.random.default_rng(0).standard_normal((2, n_frames, length))
    expected = np.zeros((2, (n_frames - 1) * hop + length))
    for index in range(n_frames):
        expected[:, index * hop : index * hop + length] += frames[:, index]
    np.testing.assert_allclose(dsp.overlap_add(frames, hop), expected, atol=1e-12)


class TestDecibels:
    def test_known_values(self):
        np.testing.assert_allclose(
            dsp.amplitude_to_db(np.array([1.0, 0.1, 10.0])), [0.0, -20.0, 20.0], atol=1e-5
        )

    @pytest.mark.parametrize("floor_db", [-60.0, -100.0])
    def test_nothing_is_below_the_floor(self, floor_db):
        silence = np.zeros((4, 4), np.complex64)
        expected = np.full((4, 4), floor_db)
        np.testing.assert_allclose(dsp.spectrogram_to_db(silence, floor_db), expected, rtol=1e-5)
        np.testing.assert_allclose(
            dsp.amplitude_to_db(np.abs(silence), floor_db), expected, rtol=1e-5
        )

    def test_the_reference_does_not_follow_the_level(self, rng):
        spectrogram = dsp.stft(rng.standard_normal(8000), AudioConfig())
        louder = dsp.spectrogram_to_db(10 * spectrogram, -200.0)
        np.testing.assert_allclose(
            louder - dsp.spectrogram_to_db(spectrogram, -200.0), 20.0, atol=1e-3
        )

    def test_power_and_magnitude_agree(self, rng):
        spectrogram = dsp.stft(rng.standard_normal(4000), AudioConfig())
        np.testing.assert_allclose(
            dsp.spectrogram_to_db(spectrogram),
            dsp.amplitude_to_db(np.abs(spectrogram)),
            atol=1e-4,
        )

    @given(st.floats(-59, 60))
    def test_there_and_back(self, decibels):
        amplitude = dsp.db_to_amplitude(decibels)
        assert dsp.amplitude_to_db(amplitude) == pytest.approx(decibels, abs=1e-3)


@pytest.mark.parametrize(("window", "n_fft"), [("hann", 255), ("sqrt_hann", 512)])
def test_offset_is_taken_out_of_every_frame_and_nothing_of_a_tone(window, n_fft):
    config = AudioConfig(16000, n_fft, n_fft // 4, 8000, window)
    tone = np.sin(np.arange(8000) * 2 * np.pi * 3000 / 16000).astype(np.float32)
    inner = slice(4, -4)  # at the ends of the sound, a frame holds part of an offset
    wanted = dsp.stft(tone, config)[:, inner]
    spectrogram = dsp.stft(tone + np.float32(0.3), config)[:, inner]
    assert np.abs(spectrogram - wanted).max() > 10
    assert np.abs(dsp.without_offset(spectrogram, config) - wanted).max() < 0.1


class TestLevels:
    def test_pauses_do_not_count(self, rng):
        tone = 0.1 * np.sin(2 * np.pi * 440 / 8000 * np.arange(8000)).astype(np.float32)
        pause = (1e-4 * rng.standard_normal(24000)).astype(np.float32)
        with_pause = np.concatenate([pause, tone, pause])
        assert dsp.active_rms(with_pause, 8000) == pytest.approx(0.1 / 2**0.5, rel=1e-3)

    def test_silence_and_nothing_are_zero(self):
        assert dsp.active_rms(np.zeros(1000, np.float32), 8000) == 0.0
        assert dsp.active_rms(np.zeros(0, np.float32), 8000) == 0.0

    @given(st.floats(-40, 40))
    def test_a_mixture_has_the_snr_that_was_asked_for(self, snr_db):
        rng = np.random.default_rng(1)
        clean, noise = rng.standard_normal((2, 16000)).astype(np.float32)
        levels = [dsp.active_rms(x, 8000) for x in (clean, noise)]
        noisy, scaled = dsp.mix_at_snr(clean, noise, snr_db, *levels)
        ratio = dsp.active_rms(clean, 8000) / dsp.active_rms(scaled, 8000)
        assert 20 * np.log10(ratio) == pytest.approx(snr_db, abs=1e-3)
        np.testing.assert_array_equal(noisy, clean + scaled)

    def test_silent_noise_stays_finite(self):
        clean = np.ones(100, np.float32)
        noisy, _ = dsp.mix_at_snr(clean, np.zeros(100, np.float32), -5.0, 1.0, 0.0)
        np.testing.assert_array_equal(noisy, clean)


class TestResample:
    @pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
    def test_a_tone_keeps_its_pitch_and_level(self, rate):
        tone = np.sin(2 * np.pi * 1000 / rate * np.arange(rate)).astype(np.float32)
        resampled = dsp.resample(tone, rate, 16000)
        expected = np.sin(2 * np.pi * 1000 / 16000 * np.arange(16000))
        assert resampled.dtype == np.float32
        assert abs(len(resampled) - 16000) <= 1
        middle = slice(2000, 14000)
        assert signal_to_error_db(expected[middle], resampled[middle]) > 80

    def test_channels_are_kept_apart(self, rng):
        stereo = rng.standard_normal((4410, 2)).astype(np.float32)
        resampled = dsp.resample(stereo, 44100, 8000)
        for channel in range(2):
            alone = dsp.resample(np.ascontiguousarray(stereo[:, channel]), 44100, 8000)
            np.testing.assert_allclose(resampled[:, channel], alone, atol=1e-6)


class TestFiles:
    @pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".aiff", ".au", ".mp3", ".opus"])
    def test_every_suffix_writes_and_reads(self, suffix, tmp_path, speech):
        path = tmp_path / f"voice{suffix}"
        audio_io.save_audio(path, speech(16000, 1.0), 16000)
        waveform, rate = audio_io.load_audio(path, 16000)
        assert rate == 16000
        assert dsp.active_rms(waveform, rate) == pytest.approx(
            dsp.active_rms(speech(16000, 1.0), rate), rel=0.05
        )

    def test_the_opus_suffix_means_the_opus_codec(self, tmp_path, speech):
        path = tmp_path / "voice.opus"
        audio_io.save_audio(path, speech(16000, 1.0), 16000)
        assert soundfile.info(path).subtype == "OPUS"

    def test_float_samples_come_back_exactly(self, tmp_path, speech):
        path = tmp_path / "voice.wav"
        audio_io.save_audio(path, speech(8000, 0.5), 8000, subtype="FLOAT")
        np.testing.assert_array_equal(audio_io.load_audio(path)[0], speech(8000, 0.5))

    def test_channels_are_averaged(self, tmp_path):
        stereo = np.stack([np.full(100, 0.5), np.full(100, -0.25)], axis=-1)
        soundfile.write(tmp_path / "stereo.wav", stereo, 8000, subtype="FLOAT")
        np.testing.assert_allclose(audio_io.load_audio(tmp_path / "stereo.wav")[0], 0.125)

    def test_unknown_suffix(self, tmp_path):
        with pytest.raises(UserError, match=r"\.wav.*Received: .*voice\.xyz$"):
            audio_io.save_audio(tmp_path / "voice.xyz", np.zeros(10), 8000)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("content", [b"", b"just some text", b"RIFF\x00\x00\x00\x00WAVE"])
    def test_what_is_no_audio_is_refused(self, content, tmp_path):
        (tmp_path / "bad.wav").write_bytes(content)
        with pytest.raises(UserError, match=r"bad\.wav"):
            audio_io.load_audio(tmp_path / "bad.wav")

    def test_missing_file(self, tmp_path):
        with pytest.raises(UserError, match=r"none\.wav"):
            audio_io.load_audio(tmp_path / "none.wav")

    def test_no_samples(self, tmp_path):
        soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
        with pytest.raises(UserError, match="No samples"):
            audio_io.load_audio(tmp_path / "empty.wav")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_samples_that_are_no_numbers(self, value, tmp_path):
        soundfile.write(tmp_path / "nan.wav", np.array([0.0, value, 0.0]), 8000, subtype="FLOAT")
        with pytest.raises(UserError, match="NaN or infinite"):
            audio_io.load_audio(tmp_path / "nan.wav")

    def test_search_is_recursive_sorted_and_only_finds_audio(self, tmp_path):
        for name in ("b/2.WAV", "a/1.flac", "a/notes.txt", "c.mp3", "a/._1.flac", ".d/3.wav"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "folder.wav").mkdir()
        found = [str(p.relative_to(tmp_path)) for p in audio_io.find_audio_files(tmp_path)]
        assert found == ["a/1.flac", "b/2.WAV", "c.mp3"]

    def test_search_in_a_hidden_folder_that_was_asked_for(self, tmp_path):
        (tmp_path / ".cache").mkdir()
        (tmp_path / ".cache" / "1.wav").touch()
        assert len(audio_io.find_audio_files(tmp_path / ".cache")) == 1

    def test_search_without_result(self, tmp_path):
        with pytest.raises(UserError, match="No such folder"):
            audio_io.find_audio_files(tmp_path / "none")
        with pytest.raises(UserError, match="No audio"):
            audio_io.find_audio_files(tmp_path)


class TestReplacing:
    def test_success_replaces_and_leaves_nothing_else(self, tmp_path):
        path = tmp_path / "new" / "file.txt"
        for text in ("one", "two"):
            with atomic.replacing(path) as temporary:
                temporary.write_text(text)
        assert path.read_text() == "two"
        assert [p.name for p in path.parent.iterdir()] == ["file.txt"]

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_failure_keeps_the_old_and_leaves_nothing_else(self, error, tmp_path):
        path = tmp_path / "file.txt"
        path.write_text("old")
        with pytest.raises(error), atomic.replacing(path) as temporary:
            temporary.write_text("half")
            raise error
        assert path.read_text() == "old"
        assert len(list(tmp_path.iterdir())) == 1

    def test_the_mode_is_that_of_a_new_file(self, tmp_path):
        (tmp_path / "plain").touch()
        with atomic.replacing(tmp_path / "file") as temporary:
            temporary.touch()
        modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "file")]
        assert modes[0] == modes[1]

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        with (
            pytest.raises(UserError, match="Cannot write"),
            atomic.replacing(tmp_path / "file" / "inside.wav"),
        ):
            pass

    @pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
    def test_a_folder_that_may_not_be_written(self, tmp_path):
        tmp_path.chmod(0o500)
        with (
            pytest.raises(UserError, match="Cannot write"),
            atomic.replacing(tmp_path / "file.wav"),
        ):
            pass

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
    def test_a_full_disk(self, tmp_path):
        with (
            pytest.raises(UserError, match=r"Cannot write.*No space left"),
            atomic.replacing(tmp_path / "file.txt"),
            open("/dev/full", "w") as full,  # noqa: PTH123
        ):
            full.write("x" * 100000)
        assert not list(tmp_path.iterdir())


def test_a_name_that_is_no_text_is_read_and_written(tmp_path, rng):
    path = tmp_path / os.fsdecode(b"\xff\xfe.wav")
    sound = 0.1 * rng.standard_normal(800).astype(np.float32)
    audio_io.save_audio(path, sound, 8000, subtype="FLOAT")
    np.testing.assert_array_equal(audio_io.load_audio(path)[0], sound)
    np.testing.assert_array_equal(np.concatenate([*audio_io.stream_audio(path, 8000)]), sound)
