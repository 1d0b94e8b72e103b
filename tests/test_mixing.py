import argparse
import dataclasses
import multiprocessing

import numpy as np
import pytest

from speech_enhancement.cli import args
from speech_enhancement.config import AudioConfig
from speech_enhancement.corpora import packs
from speech_enhancement.corpora import pools as sources
from speech_enhancement.datasets.feed import BatchMaker, MixtureFeed
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import audio_io
from speech_enhancement.mixing import augment
from speech_enhancement.mixing import mixer as mixing
from speech_enhancement.mixing.recipe import MixingConfig
from speech_enhancement.signal import dsp
from speech_enhancement.signal.features import Features

RATE = 8000
AUDIO = AudioConfig(RATE, 256, 128, 8000, "sqrt_hann")
PLAIN = {
    field.name: 0.0 for field in dataclasses.fields(MixingConfig) if "_probability" in field.name
}


def syllables(rng, seconds, pitch_hz):
    """Something that comes and goes like speech, at a pitch that tells who it is."""
    time = np.arange(round(seconds * RATE)) / RATE
    envelope = np.maximum(np.sin(2 * np.pi * 3 * time + rng.uniform(0, 6)), 0)
    return (0.2 * envelope * np.sin(2 * np.pi * pitch_hz * time)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve speakers of two recordings each, some short, and three kinds of noise."""
    root = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    for speaker in range(12):
        for take, seconds in enumerate((3.0, 0.4)):
            path = root / f"voice/speaker{speaker:02d}/{take}.wav"
            audio_io.save_audio(path, syllables(rng, seconds, 200 + 200 * speaker), RATE)
    for kind in ("rain", "street", "tap"):
        noise = rng.normal(0, 0.05, 2 * RATE).astype(np.float32)
        audio_io.save_audio(root / f"noise/{kind}/1.wav", noise, RATE)
    return root


@pytest.fixture(scope="module")
def pools(folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    found = sources.find_voices(folder / "voice"), sources.find_noises(folder / "noise")
    return [sources.AudioPool.build(files, RATE, cache, progress=False) for files in found]


def make_mixer(pools, seed=0, **config):
    return mixing.Mixer(*pools, AUDIO, MixingConfig(**config), seed)


def test_a_batch_is_finite_never_clips_and_is_its_own(pools):
    mixer = make_mixer(pools, n_rooms=5)
    noisy, clean = mixer.batch(0, 0, 60)
    assert noisy.shape == clean.shape == (60, AUDIO.frame_length)
    assert noisy.dtype == clean.dtype == np.float32
    assert np.isfinite(noisy).all() and np.isfinite(clean).all()
    assert np.abs(clean).max() <= 1.0
    assert len({row.tobytes() for row in noisy}) == 60


def test_seed_epoch_and_index_decide_alone(pools):
    first = make_mixer(pools).batch(1, 2, 3)
    again = make_mixer(pools).batch(1, 2, 3)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    for other in (
        make_mixer(pools).batch(1, 3, 3),
        make_mixer(pools).batch(2, 2, 3),
        make_mixer(pools, seed=1).batch(1, 2, 3),
    ):
        assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("snr_db", [-5.0, 7.0, 20.0])
def test_mixtures_have_the_snr_and_level_drawn(pools, snr_db):
    mixer = make_mixer(pools, **PLAIN | {"snr_db": (snr_db, snr_db), "level_dbfs": (-26.0, -26.0)})
    noisy, clean = mixer.batch(0, 0, 10)
    for n, c in zip(noisy, clean, strict=True):
        levels = [dsp.active_rms(x, RATE) for x in (c, n - c)]
        assert 20 * np.log10(levels[0] / levels[1]) == pytest.approx(snr_db, abs=0.05)
        assert 20 * np.log10(dsp.active_rms(n, RATE)) == pytest.approx(-26.0, abs=0.05)


def test_snr_spans_its_range(pools):
    mixer = make_mixer(pools, **PLAIN | {"snr_db": (-5.0, 20.0)})
    noisy, clean = mixer.batch(0, 0, 150)
    snr_db = [
        20 * np.log10(dsp.active_rms(c, RATE) / dsp.active_rms(n - c, RATE))
        for n, c in zip(noisy, clean, strict=True)
    ]
    assert -5.1 < min(snr_db) < -3.0
    assert 18.0 < max(snr_db) < 20.1
    assert np.mean(snr_db) == pytest.approx(7.5, abs=2.0)


def test_noise_only_and_nearly_clean_windows(pools):
    noisy, clean = make_mixer(pools, **PLAIN | {"noise_only_probability": 1.0}).batch(0, 0, 5)
    assert not clean.any()
    assert (np.abs(noisy).max(axis=1) > 0).all()
    noisy, clean = make_mixer(pools, **PLAIN | {"clean_only_probability": 1.0}).batch(0, 0, 5)
    for n, c in zip(noisy, clean, strict=True):
        ratio = dsp.active_rms(c, RATE) / dsp.active_rms(n - c, RATE)
        assert 20 * np.log10(ratio) == pytest.approx(40.0, abs=0.1)


@pytest.mark.parametrize("probability", ["clip", "codec", "artificial_noise"])
def test_degradations_spare_the_target(pools, probability):
    name = f"{probability}_probability"
    plain = make_mixer(pools, **PLAIN)
    degraded = make_mixer(pools, **PLAIN | {name: 1.0})
    for seed in range(3):
        before = plain.draw(np.random.default_rng(seed))
        after = degraded.draw(np.random.default_rng(seed))
        assert np.array_equal(before[1], after[1])
        assert not np.array_equal(before[0], after[0])


@pytest.mark.parametrize(
    ("option", "limits"), [("volume", "volume_gain_db"), ("time_shift", "time_shift_s")]
)
def test_the_target_is_moved_and_made_louder_with_its_mixture(pools, option, limits):
    never = PLAIN | {"noise_only_probability": 0.0, "clean_only_probability": 1.0}
    recipe = never | {f"{option}_probability": 1.0, limits: (0.01, 0.01)}
    before = make_mixer(pools, **never | {"clean_only_snr_db": 90.0}).draw(np.random.default_rng(0))
    after = make_mixer(pools, **recipe | {"clean_only_snr_db": 90.0}).draw(np.random.default_rng(0))
    assert not np.array_equal(before[1], after[1])
    np.testing.assert_allclose(after[0], after[1], atol=1e-4)
    assert after[0].dtype == after[1].dtype == np.float32


def test_the_target_loses_its_highs_with_its_mixture(pools):
    never = PLAIN | {"noise_only_probability": 0.0, "snr_db": (0.0, 0.0)}
    recipe = never | {"low_pass_probability": 1.0, "low_pass_hz": (1000.0, 1000.0)}
    for seed in range(3):
        before, after = (
            make_mixer(pools, **values).draw(np.random.default_rng(seed))
            for values in (never, recipe)
        )
        for whole, filtered in zip(before, after, strict=True):
            expected = augment.low_pass(whole, RATE, np.random.default_rng(0), (1000.0, 1000.0))
            np.testing.assert_array_equal(filtered, expected)


def test_reverberation_leaves_its_late_part_out_of_the_target(pools):
    mixer = make_mixer(
        pools,
        **PLAIN
        | {
            "reverb_probability": 1.0,
            "reverb_rt60_s": (0.6, 0.6),
            "n_rooms": 3,
            "snr_db": (90, 90),
        },
    )
    noisy, clean = mixer.batch(0, 0, 4)
    for n, c in zip(noisy, clean, strict=True):
        assert 0.01 < dsp.active_rms(n - c, RATE) / dsp.active_rms(c, RATE) < 1.5


@pytest.mark.parametrize("n_voices", [11, 30])
def test_no_voice_is_in_its_own_babble(pools, n_voices):
    mixer = make_mixer(pools, **PLAIN | {"babble_voices": (n_voices, n_voices)})
    for speaker in range(0, 12, 4):
        babble = mixer.babble(np.random.default_rng(speaker), f"speaker{speaker:02d}")
        spectrum = np.abs(np.fft.rfft(babble * np.hanning(len(babble))))
        pitches = spectrum[[200 + 200 * other for other in range(12)]]
        others = np.delete(pitches, speaker)
        assert pitches[speaker] < 0.05 * others.min()


def test_short_recordings_are_followed_by_others_of_their_group(pools):
    recordings = mixing.RecordingSampler(pools[0], 0.5)
    short = next(i for i, r in enumerate(pools[0].recordings) if r.n_samples < RATE)
    group = recordings.group_of[short]
    window = recordings.window(np.random.default_rng(0), short, 2 * RATE, (100, 100))
    spectrum = np.abs(np.fft.rfft(window))
    pitch = 200 + 200 * int(group[-2:])
    assert abs(np.argmax(spectrum) / 2 - pitch) < 6
    assert np.abs(window[RATE:]).max() > 0.05


def test_only_the_given_recordings_are_drawn(pools):
    recordings = mixing.RecordingSampler(pools[0], 0.5, indices=[3, 8])
    drawn = {recordings.pick(np.random.default_rng(seed)) for seed in range(30)}
    assert drawn == {3, 8}


def test_balance_evens_out_groups():
    pool = argparse.Namespace(
        recordings=[
            sources.PoolRecording(None, group, n_samples, 0.1, 0)
            for group, n_samples in [("much", 9000), ("little", 1000)]
        ]
    )
    rng = np.random.default_rng(0)
    for balance, share in [(0.0, 0.5), (0.5, 0.75), (1.0, 0.9)]:
        recordings = mixing.RecordingSampler(pool, balance)
        picks = [recordings.pick(rng) for _ in range(2000)]
        assert np.mean(np.array(picks) == 0) == pytest.approx(share, abs=0.04)


def test_gaps_are_silent_and_do_not_click():
    rng = np.random.default_rng(0)
    for _ in range(20):
        broken = mixing.with_gap(np.ones(RATE, np.float32), RATE, rng)
        assert 0.09 < np.mean(broken == 0) < 0.61
        assert np.abs(np.diff(broken)).max() < 0.05


def test_the_sequence_is_the_same_with_any_number_of_workers(pools):
    make = BatchMaker(make_mixer(pools, n_rooms=3), Features("complex", "clean"), 2, 3)
    sequences = []
    for workers in (0, 1, 2):
        feed = MixtureFeed(make, workers, prefetch=2)
        batches = [feed.get(position) for position in (0, 1, 0, 1, 2, 3, 7)]
        feed.close()
        assert feed.waited_s > 0
        assert batches[0][0].shape == (2, AUDIO.n_frames, AUDIO.n_bins, 2)
        sequences.append(b"".join(x.tobytes() + y.tobytes() for x, y in batches))
    assert sequences[0] == sequences[1] == sequences[2]


def test_a_mixing_process_that_is_killed_is_told_in_a_sentence(pools):
    feed = MixtureFeed(BatchMaker(make_mixer(pools), Features("complex", "clean"), 2, 3), 1, 2)
    feed.get(0)
    for process in multiprocessing.active_children():
        process.kill()
        process.join(10)
    with pytest.raises(UserError, match="A mixing process was killed, perhaps because the memory"):
        feed.get(50)
    feed.close()


@pytest.mark.parametrize(
    ("representation", "target", "shape"),
    [
        ("magnitude_db", "noise_db", (2, AUDIO.n_bins, AUDIO.n_frames, 1)),
        ("complex", "clean", (2, AUDIO.n_frames, AUDIO.n_bins, 2)),
        ("waveform", "waveform", (2, AUDIO.frame_length, 1)),
    ],
)
def test_batches_are_what_a_network_takes(pools, representation, target, shape):
    x, y = BatchMaker(make_mixer(pools, **PLAIN), Features(representation, target), 2, 3)(4)
    assert x.shape == y.shape == shape
    assert x.dtype == y.dtype == np.float32


def test_pools_of_another_rate_are_refused(pools):
    with pytest.raises(UserError, match="16000 Hz"):
        mixing.Mixer(*pools, AudioConfig(16000, 512, 256, 32000))


@pytest.mark.parametrize(
    "wrong",
    [
        {"reverb_probability": 1.5},
        {"snr_db": (10.0, 0.0)},
        {"n_rooms": 0},
        {"speed": (0.0, 1.0)},
        {"codec_compression": (0.5, 1.5)},
        {"group_weights": ("vctk",)},
        {"group_weights": ("vctk=much",)},
        {"group_weights": ("=3",)},
        {"group_weights": ("vctk=0",)},
    ],
)
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        MixingConfig(**wrong)


def test_every_described_field_of_the_recipe_is_an_option():
    options = args.parse(
        ["--mode=training", "--data=dynamic", "--mix_snr_db", "0", "10", "--mix_n_rooms", "7"]
    )
    assert options.mix_snr_db == [0.0, 10.0]
    assert options.mix_n_rooms == 7
    for field in MixingConfig.options():
        assert hasattr(options, f"mix_{field.name}")


def test_a_pack_gives_the_recordings_back(folder, tmp_path):
    path = tmp_path / "data.zip"
    assert packs.main([str(folder), str(path)]) == 0
    first = path.read_bytes()
    packs.pack(folder, path)
    assert path.read_bytes() == first
    voices = packs.as_folder(path / "voice", tmp_path / "cache")
    found = sources.find_voices(voices)
    expected = sources.find_voices(folder / "voice")
    assert [group for _, group in found] == [group for _, group in expected]
    assert found[3][0].read_bytes() == expected[3][0].read_bytes()
    assert packs.as_folder(path / "voice", tmp_path / "cache") == voices
    assert packs.as_folder(folder, tmp_path / "cache") == folder


def test_a_pack_needs_a_folder_and_a_name(capsys):
    assert packs.main(["voices"]) == 2
    assert capsys.readouterr().err.startswith("usage: python -m speech_enhancement.corpora.packs ")


def test_a_file_that_is_no_pack_is_refused(tmp_path):
    path = tmp_path / "data.zip"
    path.write_text("not a pack")
    with pytest.raises(UserError, match="neither a folder nor a pack"):
        packs.as_folder(path, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


CLEAN = PLAIN | {"clean_only_probability": 1.0, "clean_only_snr_db": 90.0}


def test_what_never_happens_changes_no_seed(pools):
    """Data sets of a seed stay what they are, whatever the ranges of what is not asked for."""
    ranges = {
        "turn_drop_db": (1.0, 2.0),
        "hum_snr_db": (1.0, 2.0),
        "rumble_gain_db": (1.0, 2.0),
        "pop_gain_db": (1.0, 2.0),
        "offset": (0.1, 0.2),
        "telephone_low_hz": (10.0, 20.0),
        "light_noise_snr_db": (1.0, 2.0),
    }
    noisy, clean = make_mixer(pools, n_rooms=3).batch(0, 0, 20)
    again = make_mixer(pools, n_rooms=3, **ranges).batch(0, 0, 20)
    assert np.array_equal(noisy, again[0]) and np.array_equal(clean, again[1])


def pitches_over_time(sound):
    """The loudest frequency of each 50 ms, Hz, and its level, dB; silence left out."""
    frames = sound[: len(sound) // 400 * 400].reshape(-1, 400)
    spectra = np.abs(np.fft.rfft(frames * np.hanning(400)))
    level = 20 * np.log10(spectra.max(axis=1) + 1e-9)
    loud = level > level.max() - 70
    return spectra.argmax(axis=1)[loud] * RATE / 400, level[loud]


@pytest.mark.parametrize("drop_db", [10.0, 35.0])
def test_turns_are_of_two_levels(pools, drop_db):
    recipe = CLEAN | {"turn_probability": 1.0, "turn_drop_db": (drop_db, drop_db)}
    mixer = make_mixer(pools, **recipe)
    differences = []
    for seed in range(20):
        _, clean = mixer.draw(np.random.default_rng(seed))
        pitch, level = pitches_over_time(clean)
        first = np.abs(pitch - pitch[np.argmax(level)]) < 60
        if first.sum() > 3 and (~first).sum() > 3:
            differences.append(np.percentile(level[first], 90) - np.percentile(level[~first], 90))
    assert len(differences) >= 5
    assert np.median(differences) == pytest.approx(drop_db, abs=3.0)


def test_noise_does_not_cover_the_softer_of_two_voices(pools):
    recipe = PLAIN | {"snr_db": (0.0, 0.0), "turn_probability": 1.0, "turn_drop_db": (30.0, 30.0)}
    for seed in range(8):
        noisy, clean = make_mixer(pools, **recipe).draw(np.random.default_rng(seed))
        ratio = dsp.active_rms(clean, RATE) / dsp.active_rms(noisy - clean, RATE)
        assert 20 * np.log10(ratio) > 30 - 8.5


def test_light_noise_has_its_share_and_its_snr(pools):
    recipe = PLAIN | {"snr_db": (0.0, 0.0), "light_noise_probability": 0.4}
    noisy, clean = make_mixer(pools, **recipe).batch(0, 0, 200)
    snr_db = np.array(
        [
            20 * np.log10(dsp.active_rms(c, RATE) / dsp.active_rms(n - c, RATE))
            for n, c in zip(noisy, clean, strict=True)
        ]
    )
    light = snr_db > 10
    assert np.mean(light) == pytest.approx(0.4, abs=0.1)
    assert snr_db[light].min() > 19.0 and snr_db[light].max() < 41.0


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("telephone", {"telephone_high_hz": (2000.0, 2000.0)}),
        ("steep_low_pass", {"steep_low_pass_hz": (2000.0, 2000.0)}),
    ],
)
def test_a_narrow_band_is_that_of_the_target_too(pools, name, values):
    recipe = PLAIN | {"snr_db": (0.0, 0.0), f"{name}_probability": 1.0, **values}
    for seed in range(3):
        for sound in make_mixer(pools, **recipe).draw(np.random.default_rng(seed)):
            power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
            if power[1000:].max() > 0:
                assert 10 * np.log10(power[2400:].mean() / power[500:1900].mean()) < -35


@pytest.mark.parametrize("name", ["hum", "rumble", "pop", "offset"])
def test_what_is_added_to_mixtures_is_not_in_their_targets(pools, name):
    """The sound and its target stand in the same relation as without, and the rest is new."""
    before = make_mixer(pools, **CLEAN).draw(np.random.default_rng(0))
    always = CLEAN | {f"{name}_probability": 1.0}
    after = make_mixer(pools, **always).draw(np.random.default_rng(0))
    gain = np.dot(after[1], before[1]) / np.dot(before[1], before[1])
    np.testing.assert_allclose(after[1], gain * before[1], atol=1e-6)
    assert np.abs(before[0] - before[1]).max() < 1e-3
    assert np.abs(after[0] - after[1]).max() > 1e-3


def test_voices_lose_what_lies_below_a_frequency(pools):
    """Of two voices of the same level, the one below the edge is gone and the other is not."""
    cut = make_mixer(pools, **CLEAN, voice_low_cut_hz=1300.0)
    levels = {}
    for seed in range(30):
        voice = cut.draw_voice(np.random.default_rng(seed))
        levels.setdefault(voice.group, dsp.active_rms(voice.target, RATE))
    low = [level for group, level in levels.items() if int(group[-2:]) <= 2]  # up to 600 Hz
    high = [level for group, level in levels.items() if int(group[-2:]) >= 8]  # from 1800 Hz on
    assert low and high
    assert max(low) < 0.02 * min(high)


def test_levels_reach_down_to_what_is_asked_for(pools):
    noisy, _ = make_mixer(pools, **PLAIN | {"level_dbfs": (-60.0, -60.0)}).batch(0, 0, 5)
    for sound in noisy:
        assert 20 * np.log10(dsp.active_rms(sound, RATE)) == pytest.approx(-60.0, abs=0.1)


def test_weights_make_groups_more_frequent():
    pool = argparse.Namespace(
        recordings=[
            sources.PoolRecording(None, group, 1000, 0.1, 0) for group in ("vctk/p1", "other")
        ]
    )
    config = MixingConfig(group_weights=("vctk/*=3",))
    recordings = mixing.RecordingSampler(pool, config.balance, None, config.weight_of)
    rng = np.random.default_rng(0)
    picks = np.array([recordings.pick(rng) for _ in range(2000)])
    assert np.mean(picks == 0) == pytest.approx(0.75, abs=0.04)
