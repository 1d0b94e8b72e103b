"""Data sets of windows, made through the command line out of recordings that the tests make."""

import csv
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from speech_enhancement.cli import main
from speech_enhancement.config import AudioConfig
from speech_enhancement.corpora.pools import PoolRecording
from speech_enhancement.datasets import creation, store
from speech_enhancement.errors import table_text
from speech_enhancement.files import audio_io, locks
from speech_enhancement.scoring import report
from speech_enhancement.signal import dsp

REPOSITORY = Path(__file__).resolve().parent.parent
RATE = 8000
SOUNDS = ("noisy_voice", "voice", "noise")


def write(path: Path, samples: np.ndarray, rate: int = RATE, **kwargs: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **kwargs)
    return path


def hum(rng, seconds, rate=RATE):
    """A steady voice: its level is the same in every window."""
    times = np.arange(round(seconds * rate)) / rate
    pitch = rng.uniform(90, 250)
    return 0.05 * sum(np.sin(2 * np.pi * pitch * n * times) / n for n in range(1, 8))


class Corpus(NamedTuple):
    voices: Path
    noises: Path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Six speakers in LibriSpeech's layout and six noises, one of them shorter than a window."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("corpus")
    for speaker in range(6):
        for chapter in range(2):
            name = f"dev/{speaker}/{chapter}/{speaker}-{chapter}-0.flac"
            write(folder / "voices" / name, hum(rng, 1.5 + 0.2 * speaker))
    for number in range(6):
        sound = rng.standard_normal(round((0.4 + number) * RATE)) * 10.0 ** -rng.uniform(1, 2)
        write(folder / f"noises/class{number // 2}/{number}.wav", sound)
    return Corpus(folder / "voices", folder / "noises")


def command(corpus, folder, *more, nb_samples=40):
    return [
        "--mode=data_creation",
        f"--voice_dir={corpus.voices}",
        f"--noise_dir={corpus.noises}",
        f"--path_save_spectrogram={folder / 'spectrogram'}",
        f"--path_save_time_serie={folder / 'time_serie'}",
        f"--path_save_sound={folder / 'sound'}",
        f"--cache_dir={corpus.voices.parent / 'cache'}",
        f"--nb_samples={nb_samples}",
        "--workers=1",
        "--seed=3",
        *map(str, more),
    ]


class DataSet:
    """What a run left in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = json.loads((folder / "spectrogram/manifest.json").read_text())
        self.windows = np.load(folder / "spectrogram/windows.npy")
        table = csv.DictReader((folder / "spectrogram/sources.csv").read_text().splitlines())
        rows = list(table)
        self.sources = {
            kind: [row for row in rows if row["kind"] == kind] for kind in {r["kind"] for r in rows}
        }

    def __getitem__(self, name: str) -> np.ndarray:
        kind = "time_serie" if name.endswith("timeserie") else "spectrogram"
        return np.load(self.folder / kind / f"{name}.npy")

    def of(self, split: str) -> np.ndarray:
        return self.windows[slice(*self.manifest["split"][split])]


def contents(folder):
    """A digest of every file but locks, which stay, and what tells where it lies."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("manifest.json", store.LOCK)
    }


@pytest.fixture(scope="module")
def made(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    assert main.main(command(corpus, folder)) == 0
    return DataSet(folder)


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1", "@a", "\t=1"])
def test_no_spreadsheet_runs_what_a_name_says(text):
    assert table_text(text) == f"'{text}"
    assert table_text(f"a{text}") == f"a{text}"
    pool = SimpleNamespace(recordings=[PoolRecording(Path(text), text, 1, 0.1, 0)])
    ((_, _, group, path, *_),) = creation._rows_of("voice", pool)
    assert group == path == f"'{text}"
    row = {"file": text, "system": text, "class": text, "scores": {}}
    assert report.scores_csv([row]).splitlines()[1].count("'") == 3


def test_the_files_are_there_in_their_shapes(made):
    audio = AudioConfig()
    assert made.manifest["audio"] == audio.to_dict()
    assert made.manifest["split"] == {"train": [0, 36], "validation": [36, 40]}
    assert made.manifest["left_out"] == []
    for sound in SOUNDS:
        decibels, waveforms = made[f"{sound}_amp_db"], made[f"{sound}_timeserie"]
        assert decibels.shape == (40, 128, 128) and decibels.dtype == np.float32
        assert waveforms.shape == (40, 8064) and waveforms.dtype == np.float32
        listen, rate = soundfile.read(made.folder / f"sound/{sound}_long.wav")
        assert rate == RATE
        np.testing.assert_allclose(listen, waveforms.reshape(-1), atol=2**-15)


def test_the_noisy_voice_is_voice_and_noise_and_never_clips(made):
    noisy, voice, noise = (made[f"{sound}_timeserie"] for sound in SOUNDS)
    np.testing.assert_array_equal(noisy, voice + noise)
    assert np.abs(noisy).max() <= 1.000001


def test_the_spectrograms_are_those_of_the_time_series(made):
    for sound in SOUNDS:
        spectrogram = dsp.stft(made[f"{sound}_timeserie"], AudioConfig())
        expected = dsp.spectrogram_to_db(spectrogram)
        audible = expected > -40.0  # where rounding is far below
        np.testing.assert_allclose(made[f"{sound}_amp_db"][audible], expected[audible], atol=0.01)
        assert made[f"{sound}_amp_db"].min() >= -60.001


def level_db(waveform):
    return 20.0 * np.log10(dsp.active_rms(waveform, RATE))


def test_levels_are_as_the_manifest_says(made):
    window = made.windows
    assert np.all((window["snr_db"] >= -5) & (window["snr_db"] <= 15))
    assert np.ptp(window["snr_db"]) > 10
    assert np.all(window["level_dbfs"] <= -15) and np.ptp(window["level_dbfs"]) > 10
    voice, noise = made["voice_timeserie"], made["noise_timeserie"]
    for row, clean, sound in zip(window, voice, noise, strict=True):
        assert level_db(clean) == pytest.approx(row["level_dbfs"], abs=0.3)
        assert level_db(clean) - level_db(sound) == pytest.approx(row["snr_db"], abs=0.5)


def test_windows_are_where_the_manifest_says(made):
    row, voice = made.windows[0], made["voice_timeserie"][0]
    source, _ = audio_io.load_audio(made.sources["voice"][row["voice"]]["path"])
    start = row["voice_start"]
    np.testing.assert_allclose(voice, source[start : start + 8064] * row["voice_gain"], atol=1e-4)


def test_no_speaker_and_no_noise_is_on_both_sides(made):
    for kind, column in (("voice", "group"), ("noise", "path")):
        train, validation = (
            {made.sources[kind][number][column] for number in made.of(split)[kind]}
            for split in ("train", "validation")
        )
        assert train and validation and not train & validation


def test_two_workers_write_the_same_bytes_as_one(corpus, made, tmp_path):
    assert main.main(command(corpus, tmp_path, "--workers=2")) == 0
    assert contents(tmp_path) == contents(made.folder)


def test_another_seed_draws_other_windows(corpus, made, tmp_path):
    assert main.main(command(corpus, tmp_path, "--seed=4")) == 0
    assert not np.intersect1d(DataSet(tmp_path).windows["snr_db"], made.windows["snr_db"]).size


def test_another_part_has_other_windows_of_the_same_splits(corpus, made, tmp_path):
    assert main.main(command(corpus, tmp_path, "--part=1")) == 0
    part = DataSet(tmp_path)
    assert not np.intersect1d(part.windows["snr_db"], made.windows["snr_db"]).size
    for kind, column in (("voice", "group"), ("noise", "path")):
        sides = [
            {
                data.sources[kind][number][column]
                for data in (made, part)
                for number in data.of(split)[kind]
            }
            for split in ("train", "validation")
        ]
        assert not sides[0] & sides[1]


def test_more_windows_of_a_seed_begin_with_the_same(corpus, made, tmp_path):
    assert main.main(command(corpus, tmp_path, nb_samples=50)) == 0
    np.testing.assert_array_equal(DataSet(tmp_path).of("train")[:36], made.of("train"))


def test_a_complete_data_set_is_left_alone(corpus, made, capsys):
    before = (made.folder / "spectrogram/manifest.json").stat().st_mtime_ns
    assert main.main(command(corpus, made.folder)) == 0
    assert (made.folder / "spectrogram/manifest.json").stat().st_mtime_ns == before
    assert "40 windows in" in capsys.readouterr().err


def test_another_data_set_is_replaced_only_on_demand(corpus, made, tmp_path, run_main):
    folder = tmp_path / "copy"
    shutil.copytree(made.folder, folder)
    other = command(corpus, folder, "--snr_max=0")
    refused = run_main(*other)
    assert refused.code == 1
    assert "holds another data set; give another folder, or --overwrite" in refused.err
    assert contents(folder) == contents(made.folder)
    assert run_main(*other, "--overwrite").code == 0
    assert DataSet(folder).windows["snr_db"].max() <= 0


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(corpus, tmp_path):
    arguments = command(corpus, tmp_path / "killed", nb_samples=768)
    process = subprocess.Popen(
        [sys.executable, REPOSITORY / "main.py", *arguments], stderr=subprocess.DEVNULL
    )
    journal = tmp_path / "killed/spectrogram" / store.JOURNAL
    while not journal.is_file() or journal.read_text().count("\n") < 3:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = journal.read_text().splitlines()[1:]
    assert 2 <= len(done) < 12
    assert not (tmp_path / "killed/spectrogram/manifest.json").exists()
    assert not list((tmp_path / "killed").rglob("*.npy"))

    first_done = int(done[0]) * 64
    marked = tmp_path / "killed/time_serie/voice_timeserie.npy.partial"
    with marked.open("r+b") as file:  # a chunk that is done is not done again
        file.seek(128 + first_done * 8064 * 4)
        kept = file.read(4)
        file.seek(-4, os.SEEK_CUR)
        file.write(b"mark")
    assert main.main(arguments) == 0
    with marked.with_suffix("").open("r+b") as file:
        file.seek(128 + first_done * 8064 * 4)
        assert file.read(4) == b"mark"
        file.seek(-4, os.SEEK_CUR)
        file.write(kept)
    assert main.main(command(corpus, tmp_path / "whole", nb_samples=768)) == 0
    killed, whole = contents(tmp_path / "killed"), contents(tmp_path / "whole")
    del killed["sound/voice_long.wav"], whole["sound/voice_long.wav"]  # made with the mark
    assert killed == whole


def test_two_processes_do_not_write_one_data_set(corpus, tmp_path, run_main):
    with locks.holding(tmp_path / "spectrogram" / store.LOCK, "it"):
        refused = run_main(*command(corpus, tmp_path))
    assert refused.code == 1
    assert f"The data set in {tmp_path / 'spectrogram'} is in use by process {os.getpid()}" in (
        refused.err
    )


def test_data_sets_that_share_a_folder_of_waveforms_do_not_mix(corpus, tmp_path, run_main):
    first = command(corpus, tmp_path)
    assert main.main(first) == 0
    before = contents(tmp_path)
    other = [*first, f"--path_save_spectrogram={tmp_path}/other", "--seed=5"]
    refused = run_main(*other)
    assert refused.code == 1
    assert f"{tmp_path / 'time_serie'} holds another data set" in refused.err
    for path in (tmp_path / "time_serie").iterdir():  # as an interrupted run leaves them
        path.rename(path.with_name(f"{path.name}{store.PARTIAL}"))
    assert f"{tmp_path / 'time_serie'} holds another" in run_main(*other).err
    for path in (tmp_path / "time_serie").iterdir():
        path.rename(path.with_name(path.name.removesuffix(store.PARTIAL)))
    with locks.holding(tmp_path / "time_serie" / store.LOCK, "it"):
        refused = run_main(*other, "--overwrite")
    assert f"The data set in {tmp_path / 'time_serie'} is in use by process" in refused.err
    assert contents(tmp_path) == before


def test_files_are_not_reserved_by_appending(tmp_path, monkeypatch):
    """Some network file systems reserve nothing in files that are open for appending."""
    flags = []
    open_file = os.open

    def noted(path, flag, *mode):
        flags.append(flag)
        return open_file(path, flag, *mode)

    monkeypatch.setattr(os, "open", noted)
    array = store.ArrayFile(tmp_path / "a.npy", "float32", (3, 4))
    array.allocate()
    array.publish()
    assert flags and not any(flag & os.O_APPEND for flag in flags)
    assert np.load(tmp_path / "a.npy").shape == (3, 4)


def test_one_clean_recording_may_have_several_noisy_ones(tmp_path, rng):
    clean = hum(rng, 2)
    write(tmp_path / "clean/0.wav", clean)
    for number in range(4):
        write(tmp_path / f"noisy/{number}.wav", clean + 0.01 * rng.standard_normal(len(clean)))
        if number:
            (tmp_path / f"clean/{number}.wav").symlink_to("0.wav")
    assert main.main(paired(tmp_path, nb_samples=60)) == 0
    made = DataSet(tmp_path)
    pairs = {(int(row["voice"]), int(row["noise"])) for row in made.windows}
    assert pairs == {(number, number) for number in range(4)}


def test_validation_from_folders_of_its_own(corpus, tmp_path):
    voices = tmp_path / "voices"
    write(voices / "new/1.wav", hum(np.random.default_rng(5), 2))
    arguments = command(corpus, tmp_path, f"--voice_dir_validation={voices}", "--noise_level", 1, 2)
    assert main.main(arguments) == 0
    made = DataSet(tmp_path)
    paths = [Path(row["path"]) for row in made.sources["voice"]]
    assert {paths[number] for number in made.of("validation")["voice"]} == {voices / "new/1.wav"}
    assert voices / "new/1.wav" not in {paths[number] for number in made.of("train")["voice"]}


def test_a_third_split_is_for_tests_alone(corpus, tmp_path):
    assert main.main(command(corpus, tmp_path, "--test_split=0.3", nb_samples=60)) == 0
    made = DataSet(tmp_path)
    assert made.manifest["split"] == {"train": [0, 36], "validation": [36, 42], "test": [42, 60]}
    for kind, column in (("voice", "group"), ("noise", "path")):
        used = [
            {made.sources[kind][number][column] for number in made.of(split)[kind]}
            for split in ("train", "validation", "test")
        ]
        assert all(used)
        assert len(set.union(*used)) == sum(map(len, used))


def test_the_third_split_can_be_scored(corpus, tmp_path, run_main):
    assert main.main(command(corpus, tmp_path, "--test_split=0.3")) == 0
    clean, noisy = (tmp_path / "sound/test" / kind for kind in ("clean", "noisy"))
    pairs = [
        [soundfile.read(path)[0] for path in sorted(kind.iterdir())] for kind in (clean, noisy)
    ]
    assert len(pairs[0]) == len(pairs[1]) == 3
    assert all(len(sound) == 5 * RATE for sound in (*pairs[0], *pairs[1]))
    outcome = run_main(
        *("--mode=evaluation", f"--clean_dir={clean}", f"--noisy_dir={noisy}"),
        *("--systems=wiener", "--models=", "--metrics=si_sdr", f"--report_dir={tmp_path}/report"),
    )
    assert outcome.code == 0, outcome.err


def test_clips_of_all_splits(corpus, made, tmp_path):
    assert main.main(command(corpus, tmp_path, "--save_clips")) == 0
    for split, count in (("train", 8), ("validation", 1)):
        clean, noisy = (
            sorted((tmp_path / "sound" / split / k).iterdir()) for k in ("clean", "noisy")
        )
        assert len(clean) == len(noisy) == count
        assert soundfile.info(clean[0]).frames == 5 * RATE
        assert clean[0].read_bytes() != noisy[0].read_bytes()
    assert contents(made.folder).items() <= contents(tmp_path).items()


def test_splits_that_leave_nothing_to_train_on_are_refused(corpus, tmp_path, run_main):
    shares = ("--validation_split=0.5", "--test_split=0.5")
    outcome = run_main(*command(corpus, tmp_path, *shares))
    assert outcome.code == 2 and "must leave a part to train on" in outcome.err


def test_voices_of_several_folders(corpus, tmp_path):
    write(tmp_path / "more/new/1.wav", hum(np.random.default_rng(5), 2))
    arguments = command(corpus, tmp_path, "--voice_dir", corpus.voices, tmp_path / "more")
    assert main.main(arguments) == 0
    paths = {Path(row["path"]) for row in DataSet(tmp_path).sources["voice"]}
    assert len(paths) == 13 and tmp_path / "more/new/1.wav" in paths


def test_pairs_of_several_folders(tmp_path, rng, run_main):
    for folder in ("a", "b"):
        for number in range(2):
            clean = hum(rng, 2)
            write(tmp_path / f"{folder}/clean/{number}.wav", clean)
            noisy = clean + 0.01 * rng.standard_normal(len(clean))
            write(tmp_path / f"{folder}/noisy/{number}.wav", noisy)
    shared = command(Corpus(tmp_path, tmp_path), tmp_path, nb_samples=100)
    shared = [
        option for option in shared if "voice_dir" not in option and "noise_dir" not in option
    ]
    clean, noisy = (
        [f"--{kind}_dir", *(tmp_path / folder / kind for folder in ("a", "b"))]
        for kind in ("clean", "noisy")
    )
    assert run_main(*shared, *clean, *noisy).code == 0
    made = DataSet(tmp_path)
    assert {(int(row["voice"]), int(row["noise"])) for row in made.windows} == {
        (number, number) for number in range(4)
    }
    outcome = run_main(*shared, *clean, *noisy[:2])
    assert outcome.code == 2 and "must come in pairs" in outcome.err


def test_stored_windows_follow_the_recipe(corpus, made, tmp_path):
    recipe = (
        "--augment",
        "--mix_n_rooms=3",
        "--mix_snr_db",
        "3",
        "4",
        "--mix_noise_only_probability=0",
    )
    for workers in ("1", "2"):
        options = (*recipe, f"--workers={workers}")
        assert main.main(command(corpus, tmp_path / workers, *options)) == 0
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    drawn = DataSet(tmp_path / "1")
    assert 3 <= np.median(drawn.windows["snr_db"]) <= 6
    assert main.main(command(corpus, tmp_path / "3", *recipe, "--mix_clip_probability=1")) == 0
    assert contents(tmp_path / "3") != contents(tmp_path / "1")


def test_options_of_the_recipe_need_augmentation(corpus, tmp_path, run_main):
    outcome = run_main(*command(corpus, tmp_path, "--mix_clip_probability=1"))
    assert outcome.code == 2 and "only has an effect with --augment" in outcome.err
    outcome = run_main(*command(corpus, tmp_path, "--augment", "--snr_min=1"))
    assert outcome.code == 2 and "only has an effect without --augment" in outcome.err


def test_recorded_pairs_with_augmentation(tmp_path, rng):
    for number in range(4):
        clean = hum(rng, 2)
        noisy = clean + 0.01 * rng.standard_normal(len(clean))
        write(tmp_path / f"clean/{number}.wav", clean)
        write(tmp_path / f"noisy/{number}.wav", noisy)
    level = ("--mix_level_dbfs", "-30", "-30", "--mix_low_pass_probability=0")
    assert main.main(paired(tmp_path, "--augment", *level, "--mix_speed_probability=1")) == 0
    made = DataSet(tmp_path)
    levels = [level_db(sound) for sound in made["noisy_voice_timeserie"]]
    assert np.median(levels) == pytest.approx(-30, abs=0.2)
    assert np.median(made.windows["snr_db"]) > 10  # still the pairs, aligned


def test_the_law_of_factors(corpus, tmp_path):
    arguments = command(corpus, tmp_path, "--noise_level", 0.2, 0.8, "--voice_level", 0.5, 3)
    assert main.main(arguments) == 0
    made = DataSet(tmp_path)
    for name, low, high in (("voice_gain", 0.5, 3.0), ("noise_gain", 0.2, 0.8)):
        gain = made.windows[name]
        assert low <= gain.min() < gain.max() <= high and np.ptp(gain) > 0.6 * (high - low)


def test_windows_on_a_grid(corpus, tmp_path):
    arguments = command(corpus, tmp_path, "--hop_length_frame=1000", "--hop_length_frame_noise=500")
    assert main.main(arguments) == 0
    window = DataSet(tmp_path).windows
    assert not (window["voice_start"] % 1000).any()
    lengths = [int(row["n_samples"]) for row in DataSet(tmp_path).sources["noise"]]
    longer = [lengths[number] > 8064 for number in window["noise"]]
    assert not (window["noise_start"][longer] % 500).any()


def test_short_recordings_can_be_left_out(corpus, tmp_path):
    assert main.main(command(corpus, tmp_path, "--min_duration=2.2")) == 0
    made = DataSet(tmp_path)
    for kind in ("voice", "noise"):
        lengths = [int(row["n_samples"]) for row in made.sources[kind]]
        assert min(lengths) < 2.2 * RATE <= min(lengths[n] for n in made.windows[kind])


def test_five_seconds_at_16_khz_with_phases(corpus, tmp_path, rng):
    noises = tmp_path / "noises"
    stereo = rng.standard_normal((44100, 2)) * 0.1
    write(noises / "a.mp3", stereo, 44100)
    write(noises / "b.mp3", stereo, 44100)
    arguments = command(
        corpus._replace(noises=noises),
        tmp_path,
        "--sample_rate=16000",
        "--frame_length=80000",
        "--save_phase",
        nb_samples=9,
    )
    assert main.main(arguments) == 0
    made = DataSet(tmp_path)
    audio = AudioConfig.from_dict(made.manifest["audio"])
    assert (audio.sample_rate, audio.frame_length) == (16000, 80000)
    for sound in SOUNDS:
        decibels, phasors = made[f"{sound}_amp_db"], made[f"{sound}_pha_db"]
        assert phasors.dtype == np.complex64 and phasors.shape == decibels.shape
        np.testing.assert_allclose(np.abs(phasors), 1.0, atol=1e-5)
        rebuilt = dsp.istft(dsp.db_to_amplitude(decibels) * phasors, audio, 80000)
        np.testing.assert_allclose(rebuilt, made[f"{sound}_timeserie"], atol=2e-3)


@pytest.fixture
def pairs(tmp_path, rng):
    """Clean and noisy recordings by name: good ones, one of each fault, one that is alone."""
    for number in range(4):
        clean = hum(rng, 2)
        noisy = clean + rng.standard_normal(len(clean)) * 0.01
        write(tmp_path / f"clean/p{number}/{number}.wav", clean)
        write(tmp_path / f"noisy/p{number}/{number}.flac", noisy[: len(noisy) - 100 * number])
    write(tmp_path / "clean/long.wav", hum(rng, 2))
    write(tmp_path / "noisy/long.wav", hum(rng, 2.2))
    write(tmp_path / "clean/rate.wav", hum(rng, 2))
    write(tmp_path / "noisy/rate.wav", hum(rng, 2, 16000), 16000)
    write(tmp_path / "clean/alone.wav", hum(rng, 2))
    return tmp_path


def paired(folder, *more, **options):
    corpus = Corpus(folder / "clean", folder / "noisy")
    arguments = command(corpus, folder, *more, **options)
    return [
        a.replace("voice_dir", "clean_dir").replace("noise_dir", "noisy_dir") for a in arguments
    ]


def test_recorded_pairs_take_the_place_of_mixing(pairs, run_main):
    outcome = run_main(*paired(pairs))
    assert outcome.code == 1
    assert "long.wav lasts 2.000 s" in outcome.err and "rate.wav has 8000 Hz" in outcome.err
    assert "alone.wav" in outcome.err and "differ by 12.5 ms" in outcome.err
    made = DataSet(pairs)
    assert len(made.manifest["left_out"]) == 3
    row = made.windows[0]
    for kind, name in (("clean", "voice"), ("noisy", "noisy_voice")):
        held = made.sources[kind][row["voice" if kind == "clean" else "noise"]]
        source, _ = audio_io.load_audio(held["path"])
        expected = np.resize(source[row["voice_start"] :], 8064)
        whole = min(len(source) - row["voice_start"] - 400, 8064)
        np.testing.assert_allclose(
            made[f"{name}_timeserie"][0][:whole], expected[:whole], atol=1e-4
        )


def test_pairs_are_found_again_by_another_spelling_of_their_folders(pairs, run_main, monkeypatch):
    monkeypatch.chdir(pairs)
    (pairs / "clean/long.flac").symlink_to("long.wav")
    for clean, noisy in (("clean", "noisy"), (pairs / "clean", pairs / "noisy")):
        outcome = run_main(
            *("--mode=data_creation", "--nb_samples=4", "--overwrite", "--workers=1"),
            *(f"--clean_dir={clean}", f"--noisy_dir={noisy}", f"--cache_dir={pairs}/cache"),
            *(f"--path_save_spectrogram={pairs}/s", f"--path_save_time_serie={pairs}/t"),
            f"--path_save_sound={pairs}/sound",
        )
        assert outcome.code == 1
        assert "4 windows in" in outcome.err, outcome.err


def test_pairs_without_a_common_name_are_refused(tmp_path, run_main):
    write(tmp_path / "clean/a.wav", np.ones(RATE))
    write(tmp_path / "noisy/b.wav", np.ones(RATE))
    outcome = run_main(*paired(tmp_path))
    assert outcome.code == 1 and "No recording has the same name in" in outcome.err


def test_bad_files_among_good_ones(corpus, tmp_path, run_main):
    voices = shutil.copytree(corpus.voices, tmp_path / "voices")
    (voices / "text.wav").write_text("this is not audio")
    nan = np.where(np.arange(RATE) == 7, np.nan, 0.1)
    write(voices / "nan.wav", nan, subtype="FLOAT")
    arguments = command(Corpus(voices, corpus.noises), tmp_path)
    for _ in range(2):  # a run that finds it complete names them again
        outcome = run_main(*arguments)
        assert outcome.code == 1
        assert f"left out: Cannot read {voices / 'text.wav'}" in outcome.err
        assert f"left out: NaN or infinite samples in {voices / 'nan.wav'}" in outcome.err
    assert len(DataSet(tmp_path).manifest["left_out"]) == 2


WRONG_OPTIONS = {
    ("--nb_samples=1",): (2, "`--nb_samples` must be a whole number of at least 2. Received: 1"),
    ("--validation_split=0",): (2, "`--validation_split` must be a number above 0 and below 1"),
    ("--snr_min=5", "--snr_max=4"): (2, "`snr_min` and `snr_max` must rise"),
    ("--level_min=nan",): (2, "`--level_min` must be a number. Received: nan"),
    ("--noise_level", "0.8", "0.2"): (2, "`noise_level` must rise from low to high"),
    ("--noise_level", "-1", "1"): (
        2,
        "`--noise_level` must be a number of at least 0. Received: -1",
    ),
    ("--voice_level", "1", "2"): (2, "`--voice_level` only has an effect with --noise_level"),
    ("--hop_length_frame=0",): (2, "`--hop_length_frame` must be a whole number of at least 1"),
    ("--augment", "--hop_length_frame=2"): (2, "`hop_length_frame` only has an effect without"),
    ("--workers=0",): (2, "`--workers` must be a whole number of at least 1. Received: 0"),
    ("--seed=-1",): (2, "`--seed` must be a whole number of at least 0. Received: -1"),
    ("--n_fft=0",): (2, "`--n_fft` must be a whole number of at least 1. Received: 0"),
    ("--clean_dir=x",): (
        2,
        "Give either --voice_dir and --noise_dir, or --clean_dir and --noisy_dir",
    ),
    ("--noise_classes=siren",): (2, "among class0, class1, class2. Received: siren"),
    ("--voice_dir=missing",): (1, "No such folder: missing"),
    ("--noise_dir=missing",): (1, "No such folder: missing"),
    ("--voice_dir={empty}",): (1, "No audio"),
    ("--voice_dir={text}",): (1, "None of the 1 recordings can be used: Cannot read"),
    ("--min_duration=99",): (1, "None of the 12 recordings is as long as `min_duration`, 99.0 s"),
    ("--cache_dir={file}/cache",): (1, "Cannot write"),
    ("--path_save_spectrogram={file}/data",): (1, "Cannot write"),
    ("--path_save_time_serie={file}/data",): (1, "Cannot write"),
}


@pytest.mark.parametrize("options", WRONG_OPTIONS, ids=" ".join)
def test_wrong_input_ends_in_one_sentence_and_leaves_nothing(corpus, tmp_path, run_main, options):
    code, sentence = WRONG_OPTIONS[options]
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a.wav").write_text("this is not audio")
    (tmp_path / "file").touch()
    names = {name: tmp_path / name for name in ("empty", "text", "file")}
    given = [option.format(**names) for option in options]
    outcome = run_main(*command(corpus, tmp_path / "out"), *given)
    assert outcome.code == code
    *_, last = outcome.err.strip().split("\n")  # behind the bars of progress
    assert last.startswith("error: ") and sentence in last
    assert outcome.err.count("error") == 1
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_disk_without_enough_space_is_refused_before_the_start(
    corpus, tmp_path, run_main, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**6))
    outcome = run_main(*command(corpus, tmp_path))
    assert outcome.code == 1
    assert "The data set needs 0.0117 GB more in" in outcome.err
    assert "0.001 GB are free" in outcome.err
    assert not contents(tmp_path)


def test_a_disk_that_fills_up_leaves_nothing(corpus, made, tmp_path, run_main):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, limits[1]))
    try:
        outcome = run_main(*command(corpus, tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert outcome.code == 1
    assert "Cannot write" in outcome.err and "File too large" in outcome.err
    assert not contents(tmp_path)
