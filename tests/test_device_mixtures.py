"""Mixtures drawn in `jax.numpy` against those of the host, and their pieces against numpy's."""

import itertools

import numpy as np
import pytest
import scipy.stats

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
import keras  # noqa: E402

from speech_enhancement.config import AudioConfig  # noqa: E402
from speech_enhancement.corpora import pools as sources  # noqa: E402
from speech_enhancement.datasets import device  # noqa: E402
from speech_enhancement.datasets import device_signals as signals  # noqa: E402
from speech_enhancement.datasets.device import DeviceMixtures  # noqa: E402
from speech_enhancement.datasets.device_mixer import DeviceMixer  # noqa: E402
from speech_enhancement.files import audio_io  # noqa: E402
from speech_enhancement.mixing import augment  # noqa: E402
from speech_enhancement.mixing.mixer import Mixer  # noqa: E402
from speech_enhancement.mixing.recipe import MixingConfig  # noqa: E402
from speech_enhancement.signal import dsp  # noqa: E402
from speech_enhancement.signal.features import TARGETS, Features  # noqa: E402

RATE = 8000
AUDIO = AudioConfig(RATE, 255, 63, 2016)
# A two-sample Kolmogorov-Smirnov distance beyond this has a chance of 0.1 %.
N_MIXTURES = 1200
FARTHEST = 1.95 * np.sqrt(2.0 / N_MIXTURES)
WHOLE_RECIPE = {
    "n_rooms": 8,
    "codec_probability": 0.0,
    "turn_probability": 0.2,
    "whisper_probability": 0.1,
    "tones_probability": 0.1,
    "light_noise_probability": 0.1,
    "hum_probability": 0.1,
    "rumble_probability": 0.1,
    "pop_probability": 0.1,
    "offset_probability": 0.1,
    "steep_low_pass_probability": 0.1,
    "steep_low_pass_hz": (1500.0, 2500.0),
    "telephone_probability": 0.1,
    "telephone_high_hz": (2000.0, 3000.0),
    "volume_probability": 0.1,
    "time_shift_probability": 0.1,
    "artificial_noise_probability": 0.1,
    "low_pass_hz": (1000.0, 3000.0),
    "low_pass_probability": 0.1,
    "clip_probability": 0.1,
    "voice_low_cut_hz": 50.0,
    "level_dbfs": (-60.0, -12.0),
}


def syllables(rng, seconds, pitch_hz):
    """Something with harmonics and breath that comes and goes like speech."""
    time = np.arange(round(seconds * RATE)) / RATE
    envelope = np.maximum(np.sin(2 * np.pi * 3 * time + rng.uniform(0, 6)), 0)
    voice = sum(np.sin(2 * np.pi * pitch_hz * k * time) / k for k in range(1, 9))
    return (0.1 * envelope * (voice + rng.normal(0, 0.1, len(time)))).astype(np.float32)


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    """Six speakers of a long and a short recording each, and three kinds of noise."""
    root = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    for speaker in range(6):
        for take, seconds in enumerate((4.0, 0.2)):
            path = root / f"voice/speaker{speaker:02d}/{take}.wav"
            audio_io.save_audio(path, syllables(rng, seconds, 100 + 30 * speaker), RATE)
    for kind, slope in (("rain", 0.5), ("street", 1.5), ("tap", 3.0)):
        noise = np.cumsum(rng.normal(0, 0.05, 4 * RATE)) / slope
        noise = np.diff(noise, prepend=0) + 0.01 * slope * (noise - noise.mean()) / noise.std()
        audio_io.save_audio(root / f"noise/{kind}/1.wav", noise.astype(np.float32), RATE)
    found = sources.find_voices(root / "voice"), sources.find_noises(root / "noise")
    return [sources.AudioPool.build(files, RATE, root / "cache", progress=False) for files in found]


def keys(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2**32, (count, 2), np.uint32)


def draw(mixer, count, seed=1):
    pools = jax.tree.map(jnp.asarray, mixer.pools)
    batch = jax.jit(mixer.batch)
    parts = [batch(pools, part) for part in np.split(keys(count, seed), count // 50)]
    return [np.concatenate(side) for side in zip(*parts, strict=True)]


def level_db(sound):
    return 20 * np.log10(max(dsp.active_rms(sound, RATE), 1e-9))


def band_levels_db(sound, edges_hz=(0, 60, 250, 500, 1000, 2000, 3000, 4001)):
    """Levels of bands of a sound."""
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    edges = np.array(edges_hz) * len(sound) // RATE
    return [10 * np.log10(power[a:b].sum() + 1e-9) for a, b in itertools.pairwise(edges)]


def measures(noisy, clean):
    """What is compared of each mixture, and of mixtures, by name."""
    voiced = np.abs(clean).max(axis=1) > 0
    bands = np.array([band_levels_db(sound) for sound in noisy]).T
    clean_bands = np.array([band_levels_db(sound) for sound in clean[voiced]]).T
    snr_db = [level_db(c) - level_db(n - c) for n, c in zip(noisy, clean, strict=True) if c.any()]
    values = {
        "level": [level_db(sound) for sound in noisy],
        "level of the voice": [level_db(sound) for sound in clean[voiced]],
        "SNR": snr_db,
        "silence": np.mean(np.abs(clean) < 1e-6, axis=1)[voiced],
        "crest": np.abs(noisy).max(axis=1) / np.sqrt(np.mean(np.square(noisy), axis=1)),
        "offset": np.abs(noisy.mean(axis=1)),
    }
    for name, levels in (("mixture", bands), ("voice", clean_bands)):
        total = 10 * np.log10(np.sum(10 ** (levels / 10), axis=0))
        values |= {f"band {i} of the {name}": row - total for i, row in enumerate(levels)}
    return values, np.mean(voiced)


def test_host_and_device_draw_the_same_distribution(pools):
    host = Mixer(*pools, AUDIO, MixingConfig(**WHOLE_RECIPE), seed=3)
    ours, voiced = measures(*draw(DeviceMixer(host), N_MIXTURES))
    theirs, host_voiced = measures(*host.batch(0, 0, N_MIXTURES))
    distances = {name: scipy.stats.ks_2samp(ours[name], theirs[name]).statistic for name in ours}
    assert voiced == pytest.approx(host_voiced, abs=0.03)
    assert {name: d for name, d in distances.items() if d > FARTHEST} == {}


def test_a_key_repeats_its_mixture_to_the_bit(pools):
    mixer = DeviceMixer(Mixer(*pools, AUDIO, MixingConfig(**WHOLE_RECIPE), seed=3))
    noisy, clean = draw(mixer, 50)
    again = draw(mixer, 50)
    assert np.array_equal(noisy, again[0]) and np.array_equal(clean, again[1])
    assert len({row.tobytes() for row in noisy}) == 50
    assert np.isfinite(noisy).all() and np.isfinite(clean).all()
    assert noisy.dtype == clean.dtype == np.float32


@pytest.mark.parametrize("by_products", [False, True])
def test_the_transform_is_numpys(by_products, rng):
    transform = signals.Transform(5000, RATE, by_products)
    sound = rng.standard_normal(4000).astype(np.float32)
    spectrum = transform.forward(jnp.asarray(sound))
    expected = np.fft.rfft(sound, transform.n_fft)
    np.testing.assert_allclose(np.asarray(spectrum), expected, atol=2e-3)
    back = transform.inverse(spectrum, 4000)
    np.testing.assert_allclose(np.asarray(back), sound, atol=1e-5)


@pytest.mark.parametrize(
    ("representation", "target", "options"),
    [
        *((name, target, {}) for name, targets in TARGETS.items() for target in targets),
        ("magnitude_db", "noise_db", {"n_mels": 32}),
        ("magnitude", "clean", {"exponent": 0.5}),
    ],
)
def test_features_on_the_device_are_those_of_the_host(representation, target, options, rng):
    features = Features(representation, target, **options).fitted_to(AUDIO)
    clean = 0.1 * rng.standard_normal((2, AUDIO.frame_length)).astype(np.float32)
    noisy = clean + 0.05 * rng.standard_normal(clean.shape).astype(np.float32)
    ours = signals.pair_of_waveforms(features, jnp.asarray(noisy), jnp.asarray(clean), AUDIO)
    theirs = features.pair_of_waveforms(noisy, clean, AUDIO)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(np.asarray(a), b, atol=2e-3)


def test_playing_at_a_speed_is_resampling(rng):
    import scipy.signal

    sound = scipy.signal.lfilter(*scipy.signal.butter(6, 0.6), rng.standard_normal(6000))
    for factor in (0.9, 1.1, 1.25):
        expected = augment.play_at(sound.astype(np.float32), RATE, factor)[:4000]
        ours = signals.played(
            jnp.pad(jnp.asarray(sound), (signals.RESAMPLING_TAPS // 2 - 1, 0)), factor, 4000
        )
        inner = slice(100, len(expected) - 100)
        error = np.asarray(ours)[inner] - expected[inner]
        assert 10 * np.log10(np.var(expected[inner]) / np.var(error)) > 25


def test_epochs_of_keys_differ_and_come_back(pools):
    host = Mixer(*pools, AUDIO, MixingConfig(n_rooms=2, codec_probability=0.0), seed=3)
    mixtures = DeviceMixtures(host, Features(), batch_size=4, steps_per_epoch=3)
    (first,) = mixtures[1]
    assert first.shape == (4, 2) and first.dtype == np.uint32
    mixtures.on_epoch_end()
    assert not np.array_equal(mixtures[1][0], first)
    mixtures.start_epoch(0)
    assert np.array_equal(mixtures[1][0], first)
    assert not np.array_equal(mixtures[2][0], first)
    assert len(mixtures) == 3 and mixtures.n_windows == 12


def test_what_is_not_asked_for_takes_no_memory(pools):
    quiet = {f.name: 0.0 for f in MixingConfig.options() if f.name.endswith("_probability")}
    plain, whole = (
        DeviceMixer(Mixer(*pools, AUDIO, MixingConfig(**recipe))).n_bytes
        for recipe in (quiet, WHOLE_RECIPE)
    )
    n_samples = sum(r.n_samples for pool in pools for r in pool.recordings)
    assert plain < 2 * 2 * n_samples + 100_000
    assert whole > plain


def test_another_backend_is_refused_in_a_sentence(run_main, tmp_path):
    if keras.backend.backend() == "jax":
        pytest.skip("this is the backend")
    outcome = run_main(
        *("--mode", "training", "--data", "device", "--run_dir", tmp_path),
        *("--voice_dir", tmp_path, "--noise_dir", tmp_path, "--weights_folder", tmp_path),
    )
    assert outcome.code == 2
    assert "KERAS_BACKEND" in outcome.err and "Received: tensorflow" in outcome.err


def test_options_of_host_processes_have_no_effect_on_a_device(run_main):
    outcome = run_main("--mode", "training", "--data", "device", "--mixing_workers", "2")
    assert outcome.code == 2
    assert "--data dynamic" in outcome.err


@pytest.fixture
def keeping(tmp_path):
    """A function that has compiled code kept in a folder, where the user may have named another."""
    from jax.experimental.compilation_cache import compilation_cache

    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}

    def keep(folder, of_user=None):
        jax.config.update(names[0], of_user)
        jax.config.update(names[1], 0.0)
        device.keep_compiled(folder)

    yield keep
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_what_is_compiled_is_kept_for_later_runs(keeping, tmp_path):
    jax.jit(lambda x: x + 1.0)(np.ones(3))
    keeping(tmp_path / "compiled")
    jax.jit(lambda x: x + 2.0)(np.ones(3))
    assert list((tmp_path / "compiled").iterdir())


def test_the_folder_that_the_user_names_for_compiled_code_is_used(keeping, tmp_path):
    keeping(tmp_path / "compiled", of_user=str(tmp_path / "own"))
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")
