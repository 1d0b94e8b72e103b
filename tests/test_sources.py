"""Source recordings: found with their groups, decoded once, parted, read."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from speech_enhancement.corpora import pools
from speech_enhancement.corpora.pools import AudioPool, PoolRecording
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import audio_io
from speech_enhancement.signal import dsp

RATE = 8000


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(path: Path, samples: np.ndarray, rate: int = RATE, **kwargs: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **kwargs)
    return path


def groups(files, folder):
    return {path.relative_to(folder).as_posix(): group for path, group in files}


def test_speakers_of_librispeech_as_it_unpacks(tmp_path):
    touch(
        tmp_path, "train-clean-100/19/198/19-198-0000.flac", "train-clean-100/19/227/19-227-1.flac"
    )
    touch(tmp_path, "train-clean-100/26/495/26-495-0000.flac")
    assert set(groups(pools.find_voices(tmp_path), tmp_path).values()) == {
        "train-clean-100/19",
        "train-clean-100/26",
    }


def test_speakers_of_folders_of_speakers(tmp_path):
    touch(
        tmp_path, "vctk/p225/p225_001.wav", "vctk/p226/p226_001.ogg", "emodb/03/a.mp3", "loose.wav"
    )
    assert groups(pools.find_voices(tmp_path), tmp_path) == {
        "vctk/p225/p225_001.wav": "vctk/p225",
        "vctk/p226/p226_001.ogg": "vctk/p226",
        "emodb/03/a.mp3": "emodb/03",
        "loose.wav": "loose.wav",
    }


def test_hidden_files_are_left_alone(tmp_path):
    touch(tmp_path, "a/._1.wav", ".git/2.wav", "a/1.wav")
    assert list(groups(pools.find_voices(tmp_path), tmp_path)) == ["a/1.wav"]


@pytest.fixture
def esc50(tmp_path):
    folder = tmp_path / "ESC-50-master"
    touch(folder, "audio/1-1-A-0.wav", "audio/1-2-A-37.wav", "audio/1-3-A-7.wav", "audio/new.wav")
    (folder / "meta").mkdir()
    (folder / "meta/esc50.csv").write_text(
        "filename,fold,target,category,esc10,src_file,take\n"
        "1-1-A-0.wav,1,0,dog,True,1,A\n"
        "1-2-A-37.wav,1,37,clock_alarm,False,2,A\n"
        "1-3-A-7.wav,1,7,insects,False,3,A\n"
    )
    return folder


@pytest.mark.parametrize("below", [".", "audio", ".."])
def test_classes_of_esc50(esc50, below):
    folder = (esc50 / below).resolve()
    found = {path.name: group for path, group in pools.find_noises(folder)}
    assert found == {
        "1-1-A-0.wav": "dog",
        "1-2-A-37.wav": "clock_alarm",
        "1-3-A-7.wav": "insects",
        "new.wav": "audio",
    }


def test_classes_are_chosen_by_whole_words(esc50):
    chosen = pools.find_noises(esc50, ["alarm", "Insects"])
    assert sorted(group for _, group in chosen) == ["clock_alarm", "insects"]


def test_classes_are_chosen_by_folder(tmp_path):
    touch(tmp_path, "esc10_rain/1.wav", "train/2.wav", "vacuum cleaner/3.wav")
    chosen = pools.find_noises(tmp_path, ["rain", "vacuum_cleaner"])
    assert [group for _, group in chosen] == ["esc10_rain", "vacuum cleaner"]


def test_an_unknown_class_is_refused_with_those_there_are(esc50):
    with pytest.raises(
        UsageError, match=r"among audio, clock_alarm, dog, insects\. Received: siren"
    ):
        pools.find_noises(esc50, ["dog", "siren"])


def recording(group, n_samples, number):
    return PoolRecording(Path(f"{number}.wav"), group, n_samples, 0.1, 0)


@given(
    sizes=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 10**6)), min_size=2, max_size=40),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)
def test_a_split_keeps_groups_together_and_no_side_empty(sizes, share, seed):
    recordings = [recording(str(group), n, i) for i, (group, n) in enumerate(sizes)]
    train, validation = pools.split(recordings, share, seed)
    assert train and validation
    assert sorted(train + validation) == list(range(len(recordings)))
    sides = [{recordings[index].group for index in side} for side in (train, validation)]
    assert not sides[0] & sides[1] or len(sides[0] | sides[1]) == 1
    assert (train, validation) == pools.split(recordings, share, seed)


def test_a_split_takes_about_its_share():
    recordings = [recording(str(i // 2), 1000 + i, i) for i in range(200)]
    _, validation = pools.split(recordings, 0.2, 0)
    assert len(validation) == pytest.approx(40, abs=4)


def test_one_recording_cannot_be_split():
    with pytest.raises(UserError, match="Received: 1"):
        pools.split([recording("a", 10, 0)], 0.5, 0)


@pytest.fixture
def pool(tmp_path, rng):
    """Noise at 8 kHz, a quiet stereo FLAC at 44.1 kHz, and an MP3."""
    long = rng.standard_normal(3 * RATE) * 0.1
    stereo = rng.standard_normal((2 * 44100, 2)) * 1e-4
    files = [
        (write(tmp_path / "a.wav", long, subtype="FLOAT"), "a"),
        (write(tmp_path / "b.flac", stereo, 44100), "b"),
        (write(tmp_path / "c.mp3", stereo * 1000, 44100), "c"),
    ]
    return AudioPool.build(files, RATE, tmp_path / "cache", progress=False)


def test_a_pool_holds_what_load_audio_reads(pool):
    assert [r.group for r in pool.recordings] == ["a", "b", "c"]
    for number, held in enumerate(pool.recordings):
        expected, _ = audio_io.load_audio(held.path, RATE)
        assert held.n_samples == len(expected)
        step = np.abs(expected).max() / pools.FULL_SCALE
        read = pool.read(number, 0, held.n_samples)
        np.testing.assert_allclose(read, expected, atol=0.51 * step)
        assert held.active_rms == pytest.approx(dsp.active_rms(expected, RATE), rel=1e-3)


def test_long_recordings_are_decoded_in_blocks(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(audio_io, "STREAM_BLOCK", 1000)
    monkeypatch.setattr(pools, "FRAMES_PER_BLOCK", 7)
    path = write(tmp_path / "a.wav", rng.standard_normal((44100, 2)) * 0.1, 44100)
    pool = AudioPool.build([(path, "a")], RATE, tmp_path / "cache", progress=False)
    expected, _ = audio_io.load_audio(path, RATE)
    assert pool.recordings[0].active_rms == pytest.approx(dsp.active_rms(expected, RATE))
    np.testing.assert_allclose(pool.read(0, 0, RATE), expected, atol=1e-4)


@given(start=st.integers(-30_000, 30_000), length=st.integers(1, 30_000))
def test_windows_are_zero_where_the_recording_does_not_reach(long_pool, start, length):
    pool, samples = long_pool
    expected = np.pad(samples, 60_000)[60_000 + start :][:length]
    np.testing.assert_array_equal(pool.read(0, start, length), expected)


@given(length=st.integers(1, 60_000), data=st.data())
def test_looped_windows_begin_anew(long_pool, length, data):
    pool, samples = long_pool
    start = data.draw(st.integers(0, len(samples) - 1))
    expected = samples[np.arange(start, start + length) % len(samples)]
    np.testing.assert_array_equal(pool.read_looped(0, start, length), expected)


@pytest.fixture(scope="module")
def long_pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    path = write(folder / "a.wav", np.random.default_rng(1).standard_normal(20_000) * 0.1)
    pool = AudioPool.build([(path, "a")], RATE, folder / "cache", progress=False)
    return pool, pool.read(0, 0, 20_000)


def test_a_pool_opens_again_in_another_process(pool):
    pool.read(0, 0, 10)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(pool)).read(1, 50, 99), pool.read(1, 50, 99)
    )


def test_a_pool_is_the_same_whatever_the_workers(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(pools, "FILES_WORTH_A_PROCESS", 1)
    files = [(held.path, held.group) for held in pool.recordings]
    again = AudioPool.build(files, RATE, tmp_path / "other", progress=False, workers=2)
    assert again.recordings == pool.recordings
    bytes_of = [p.index_path.with_suffix(".int16").read_bytes() for p in (pool, again)]
    assert bytes_of[0] == bytes_of[1]


def test_a_pool_is_reused_until_a_file_changes(pool, tmp_path, monkeypatch):
    files = [(held.path, held.group) for held in pool.recordings]
    decoded = []
    decode = pools._decode_all
    monkeypatch.setattr(
        pools, "_decode_all", lambda paths, *a: decoded.extend(paths) or decode(paths, *a)
    )
    AudioPool.build(files, RATE, tmp_path / "cache", progress=False)
    assert not decoded
    os.utime(files[0][0], (1, 1))
    AudioPool.build(files, RATE, tmp_path / "cache", progress=False)
    assert len(decoded) == len(files)


def bad_files(folder, rng):
    """One of each kind of file that cannot be used, with the sentence for it."""
    sound = rng.standard_normal(RATE).astype(np.float32)
    (folder / "text.wav").write_text("this is not audio")
    (folder / "empty.wav").touch()
    write(folder / "nothing.wav", sound[:0])
    write(folder / "silence.wav", sound * 0)
    write(folder / "nan.wav", np.where(np.arange(RATE) == 7, np.nan, sound), subtype="FLOAT")
    write(folder / "huge.wav", sound * np.float32(1e25), subtype="FLOAT")
    write(folder / "cut.flac", sound * 0.1)
    cut = (folder / "cut.flac").read_bytes()
    (folder / "cut.flac").write_bytes(cut[: len(cut) // 2])
    return {
        "text.wav": "Cannot read",
        "empty.wav": "Cannot read",
        "nothing.wav": "No samples",
        "silence.wav": "Only silence",
        "nan.wav": "NaN or infinite",
        "huge.wav": "Samples beyond 1e+15 times full scale",
        "cut.flac": "Cannot read",
    }


def test_bad_files_are_left_out_and_named(tmp_path, rng, capsys):
    reasons = bad_files(tmp_path, rng)
    write(tmp_path / "good.wav", rng.standard_normal(RATE) * 0.1)
    pool = AudioPool.build(pools.find_voices(tmp_path), RATE, tmp_path / "cache", progress=False)
    assert [held.path.name for held in pool.recordings] == ["good.wav"]
    complaints = {Path(path).name: reason for path, reason in pool.bad}
    for name, reason in reasons.items():
        assert reason in complaints[name] and name in complaints[name]
    assert pools.report_bad([pool, pool]) == len(pool.bad)
    assert capsys.readouterr().err.count("left out: ") == len(pool.bad)


def test_a_pool_of_bad_files_only_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "text.wav").write_text("this is not audio")
    with pytest.raises(UserError, match="None of the 1 recordings can be used: Cannot read"):
        AudioPool.build(pools.find_voices(tmp_path), RATE, tmp_path / "cache", progress=False)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name != pools.LOCK]


def test_the_remains_of_a_killed_run_are_cleared(pool, tmp_path):
    remains = tmp_path / "cache/.partial-decoding-x/0"
    touch(tmp_path, "cache/.partial-decoding-x/0", "cache/.partial-1-x.int16")
    AudioPool.build([(pool.recordings[0].path, "a")], RATE, tmp_path / "cache", progress=False)
    assert not remains.parent.exists() and not (tmp_path / "cache/.partial-1-x.int16").exists()


def test_a_pool_that_was_cut_short_is_told(pool):
    samples = pool.index_path.with_suffix(".int16")
    samples.write_bytes(samples.read_bytes()[:100])
    with pytest.raises(UserError, match="is incomplete; delete it"):
        pool.read(0, 0, 1000)


def test_a_cache_that_cannot_be_written_is_told(pool, tmp_path):
    (tmp_path / "file").touch()
    files = [(held.path, held.group) for held in pool.recordings]
    with pytest.raises(UserError, match="Cannot write"):
        AudioPool.build(files, RATE, tmp_path / "file/cache", progress=False)


def test_what_users_keep_in_the_folder_of_pools_stays(tmp_path, rng):
    touch(tmp_path / "cache", "decoding_results/a.txt", ".mine.int16")
    path = write(tmp_path / "a.wav", rng.normal(0, 0.1, RATE))
    AudioPool.build([(path, "a")], RATE, tmp_path / "cache", progress=False)
    assert (tmp_path / "cache/decoding_results/a.txt").is_file()
    assert (tmp_path / "cache/.mine.int16").is_file()


def test_recordings_whose_names_are_no_text_are_used(tmp_path, rng):
    path = write(tmp_path / "b.wav", rng.normal(0, 0.1, RATE)).rename(
        tmp_path / os.fsdecode(b"Ger\xe4usch.wav")
    )
    missing = write(tmp_path / "a.wav", np.zeros(RATE))
    files = [(missing, "a"), (path, "b")]
    pool = AudioPool.build(files, RATE, tmp_path / "cache", progress=False)
    assert [(r.path.name, r.number) for r in pool.recordings] == [(path.name, 1)]
