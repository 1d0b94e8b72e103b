import numpy as np
import pytest

from speech_enhancement.cli import args, learning_options
from speech_enhancement.config import AudioConfig
from speech_enhancement.corpora import packs
from speech_enhancement.datasets import dynamic
from speech_enhancement.errors import UsageError
from speech_enhancement.files import audio_io
from speech_enhancement.signal.features import Features

RATE = 8000
AUDIO = AudioConfig(RATE, 256, 128, 4000, "sqrt_hann")
FEATURES = Features("complex", "clean")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    for side in ("train", "valid"):
        for kind in ("voice", "noise"):
            for group in range(3):
                sound = rng.normal(0, 0.1, RATE).astype(np.float32)
                audio_io.save_audio(root / side / kind / f"{group}/0.wav", sound, RATE)
    return root


def options_for(folder, *more):
    return args.parse(
        [
            "--mode=training",
            "--data=dynamic",
            f"--voice_dir={folder}/train/voice",
            f"--noise_dir={folder}/train/noise",
            f"--cache_dir={folder}/cache",
            "--steps_per_epoch=3",
            "--validation_mixtures=5",
            "--batch_size=2",
            "--mixing_workers=0",
            "--workers=1",
            "--mix_n_rooms=2",
            *more,
        ]
    )


def mixers(options):
    data = learning_options.data_of(options)
    voices, noises = data.open_sources(RATE, options.seed)
    return dynamic.open_mixers(voices, noises, AUDIO, data.recipe, options.seed)


def mixtures(options):
    data = learning_options.data_of(options)
    return data.open(FEATURES, AUDIO, options.batch_size, options.seed)


def validation_folders(folder):
    return (
        f"--voice_dir_validation={folder}/valid/voice",
        f"--noise_dir_validation={folder}/valid/noise",
    )


def test_epochs_differ_and_come_back(folder):
    train, _ = mixtures(options_for(folder))
    assert len(train) == 3
    assert train.n_windows == 6
    first = train[1][0]
    train.on_epoch_end()
    second = train[1][0]
    train.start_epoch(0)
    assert np.array_equal(train[1][0], first)
    assert not np.array_equal(first, second)
    assert train.waited_s > 0


def test_validation_is_fixed_and_complete(folder):
    _, validation = mixtures(options_for(folder))
    _, again = mixtures(options_for(folder))
    assert [len(validation[i][0]) for i in range(len(validation))] == [2, 2, 1]
    assert validation[0][0].shape == (2, AUDIO.n_frames, AUDIO.n_bins, 2)
    assert np.array_equal(validation[0][0], again[0][0])
    validation.on_epoch_end()
    assert np.array_equal(validation[0][0], again[0][0])


def test_trainings_of_every_seed_are_validated_on_the_same_mixtures(folder):
    first, second = (
        mixtures(options_for(folder, *validation_folders(folder), seed))
        for seed in ("--seed=1", "--seed=2")
    )
    assert np.array_equal(first[1][0][0], second[1][0][0])
    assert not np.array_equal(first[0][0][0], second[0][0][0])


def test_validation_never_hears_training_recordings(folder):
    train, validation = mixers(options_for(folder))
    for name in ("voices", "noises"):
        seen = [set(getattr(mixer, name).indices) for mixer in (train, validation)]
        assert seen[0] and seen[1]
        assert not seen[0] & seen[1]
    apart = options_for(folder, *validation_folders(folder))
    _, validation = mixers(apart)
    for recordings in (validation.voices, validation.noises):
        assert len(recordings.indices) == 3
        used = [recordings.pool.recordings[index] for index in recordings.indices]
        assert all("valid" in recording.path.parts for recording in used)


def test_validation_folders_within_those_of_training_are_left_out_there(folder):
    options = args.parse(
        [
            *(
                "--mode=training",
                "--data=dynamic",
                f"--cache_dir={folder}/cache",
                "--workers=1",
                "--mix_n_rooms=2",
            ),
            *(f"--voice_dir={folder}", f"--noise_dir={folder}"),
            *validation_folders(folder),
        ]
    )
    train, _ = mixers(options)
    for recordings, held_out in ((train.voices, "voice"), (train.noises, "noise")):
        used = [recordings.pool.recordings[index].path for index in recordings.indices]
        assert len(used) == 9
        assert not [path for path in used if path.is_relative_to(folder / "valid" / held_out)]


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--steps_per_epoch=0", "steps_per_epoch"),
        ("--validation_mixtures=0", "validation_mixtures"),
        ("--prefetch=0", "prefetch"),
        ("--mixing_workers=-1", "mixing_workers"),
        ("--mix_clip_probability=2", "clip_probability"),
        ("--validation_split=1", "validation_split"),
    ],
)
def test_numbers_that_no_training_can_use_are_refused(folder, option, name):
    with pytest.raises(UsageError, match=name):
        mixtures(options_for(folder, option))


def test_folders_are_needed():
    with pytest.raises(UsageError, match="voice_dir"):
        mixers(args.parse(["--mode=training", "--data=dynamic"]))


def test_what_of_the_noises_is_kept_apart(tmp_path):
    """A recording by default, so that every class is trained on; a whole class if asked."""
    rng = np.random.default_rng(0)
    for kind in ("voice", "noise"):
        for group in range(3):
            for take in range(4):
                sound = rng.normal(0, 0.1, RATE // 4).astype(np.float32)
                audio_io.save_audio(tmp_path / f"{kind}/{kind}{group}/{take}.wav", sound, RATE)
    shared = [
        *("--mode=training", "--data=dynamic", "--workers=1", "--validation_split=0.4"),
        *(f"--voice_dir={tmp_path}/voice", f"--noise_dir={tmp_path}/noise"),
        f"--cache_dir={tmp_path}/cache",
    ]
    for option, common in (("file", True), ("class", False)):
        train, validation = mixers(args.parse([*shared, f"--split_noises_by={option}"]))
        assert not set(train.noises.indices) & set(validation.noises.indices)
        assert bool(train.noises.groups & validation.noises.groups) is common


def test_packs_give_the_same_mixtures_in_any_order(folder, tmp_path):
    for name in ("train", "valid"):
        packs.pack(folder / name, tmp_path / f"{name}.zip")
    batches = []
    for order in (("train", "valid"), ("valid", "train")):
        options = args.parse(
            [
                *("--mode=training", "--data=dynamic", "--workers=1", "--seed=4"),
                f"--cache_dir={tmp_path}/cache",
                *("--voice_dir", *(f"{tmp_path}/{name}.zip/voice" for name in order)),
                *("--noise_dir", *(f"{tmp_path}/{name}.zip/noise" for name in order)),
            ]
        )
        batches.append([mixer.batch(0, 0, 4)[0] for mixer in mixers(options)])
    for first, second in zip(*batches, strict=True):
        assert np.array_equal(first, second)


def test_several_folders_and_packs_are_one_pool(folder, tmp_path):
    packs.pack(folder / "valid", tmp_path / "data.zip")
    options = args.parse(
        [
            *("--mode=training", "--data=dynamic", f"--cache_dir={tmp_path}/cache", "--workers=1"),
            *("--voice_dir", f"{folder}/train/voice", f"{tmp_path}/data.zip/voice"),
            *("--noise_dir", f"{folder}/train/noise", f"{folder}/train/noise"),
        ]
    )
    train, validation = mixers(options)
    assert len(train.voices.indices) + len(validation.voices.indices) == 6
    assert len(train.noises.indices) + len(validation.noises.indices) == 3
