import numpy as np
import pytest

import args
import data_tools
import dataset_dynamic
from config import AudioConfig
from errors import UsageError
from features import Features

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
                data_tools.save_audio(root / side / kind / f"{group}/0.wav", sound, RATE)
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


def validation_folders(folder):
    return (
        f"--voice_dir_validation={folder}/valid/voice",
        f"--noise_dir_validation={folder}/valid/noise",
    )


def test_epochs_differ_and_come_back(folder):
    train, _ = dataset_dynamic.open_mixtures(options_for(folder), FEATURES, AUDIO)
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
    _, validation = dataset_dynamic.open_mixtures(options_for(folder), FEATURES, AUDIO)
    _, again = dataset_dynamic.open_mixtures(options_for(folder), FEATURES, AUDIO)
    assert [len(validation[i][0]) for i in range(len(validation))] == [2, 2, 1]
    assert validation[0][0].shape == (2, AUDIO.n_frames, AUDIO.n_bins, 2)
    assert np.array_equal(validation[0][0], again[0][0])
    validation.on_epoch_end()
    assert np.array_equal(validation[0][0], again[0][0])


def test_trainings_of_every_seed_are_validated_on_the_same_mixtures(folder):
    first, second = (
        dataset_dynamic.open_mixtures(
            options_for(folder, *validation_folders(folder), seed), FEATURES, AUDIO
        )
        for seed in ("--seed=1", "--seed=2")
    )
    assert np.array_equal(first[1][0][0], second[1][0][0])
    assert not np.array_equal(first[0][0][0], second[0][0][0])


def test_validation_never_hears_training_recordings(folder):
    train, validation = dataset_dynamic.open_mixers(options_for(folder), AUDIO)
    for name in ("voices", "noises"):
        seen = [set(getattr(mixer, name).indices) for mixer in (train, validation)]
        assert seen[0] and seen[1]
        assert not seen[0] & seen[1]
    apart = options_for(folder, *validation_folders(folder))
    _, validation = dataset_dynamic.open_mixers(apart, AUDIO)
    for recordings in (validation.voices, validation.noises):
        assert len(recordings.indices) == 3
        assert all("valid" in r.path.parts for r in recordings.pool.recordings)


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
    train, _ = dataset_dynamic.open_mixers(options, AUDIO)
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
        dataset_dynamic.open_mixtures(options_for(folder, option), FEATURES, AUDIO)


def test_folders_are_needed():
    with pytest.raises(UsageError, match="voice_dir"):
        dataset_dynamic.open_mixers(args.parse(["--mode=training", "--data=dynamic"]), AUDIO)
