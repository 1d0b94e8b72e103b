"""JSON that is damaged, or other than expected, ends in one sentence, never in a traceback.

The kind: whatever is read back from a disk may be cut, of another program, or made by an attacker.
"""

import json

import numpy as np
import pytest
import small_dataset

from speech_enhancement.corpora.pools import AudioPool
from speech_enhancement.datasets import stored
from speech_enhancement.datasets.store import JOURNAL, ArrayFile, WindowStore
from speech_enhancement.errors import UserError
from speech_enhancement.files import json_files
from speech_enhancement.files.json_files import (
    items,
    number,
    optional,
    record,
    row,
    scalar,
    table,
    text,
    truth,
    whole,
)
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.prediction import summary
from speech_enhancement.prediction.jobs import Job, JobLog
from speech_enhancement.scoring import scorer
from speech_enhancement.signal.features import Features
from speech_enhancement.training import hyperparameters, run_description

DAMAGED = [
    b"",
    b"\x00",
    b"\xff\xfe{}",
    b"[",
    b"null",
    b"7",
    b'"text"',
    b"[]",
    b"{}",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}",
    b'{"a": ' + b"9" * 5000 + b"}",
]


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (whole(1, 5), [1, 5], [0, 6, 1.0, True, "1", None]),
        (number(0.0, 1.0), [0, 0.5], [-1, 2, float("nan"), float("inf"), True, "0"]),
        (truth, [True, False], [0, 1, "true", None]),
        (text(3), ["", "abc"], ["abcd", 1, None]),
        (optional(truth), [None, True], [1]),
        (scalar, [1, "a", None, False], [[], {}]),
        (items(whole(0)), [[], [1, 2]], [{}, [1, "2"], "12"]),
        (row(text(), whole(0)), [["a", 1]], [["a"], [1, "a"], ["a", 1, 2]]),
        (table(truth), [{}, {"a": True}], [[], {"a": 1}]),
        (record({"a": truth}, {"b": truth}), [{"a": True}, {"a": True, "c": 1}], [{}, {"a": 1}]),
        (record({"a": truth}, others=False), [{"a": True}], [{"a": True, "c": 1}]),
    ],
)
def test_a_check_takes_what_it_says_and_nothing_else(check, good, bad):
    for value in good:
        assert json_files.parse(json.dumps(value), check) == value
    for value in bad:
        with pytest.raises(
            ValueError, match=r"must be .* Received: |`a` is missing|`c` is unknown"
        ):
            json_files.parse(json.dumps(value), check)


def test_the_message_names_the_place():
    check = record({"audio": record({"split": items(whole(0))})})
    with pytest.raises(
        ValueError, match=r"`audio.split\[1\]` must be a whole number from 0 .* 'x'"
    ):
        json_files.parse('{"audio": {"split": [1, "x"]}}', check)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    (tmp_path / "file").write_bytes(b" " * 100 + b"{}")
    with pytest.raises(UserError, match="is not a file: it has more than 50 bytes"):
        json_files.load(tmp_path / "file", "a file", json_files.anything, 50)


@pytest.fixture
def refused(tmp_path):
    """A function (read, path): every damage to a file ends in one sentence that names it."""

    def check(read, path):
        path.parent.mkdir(exist_ok=True, parents=True)
        for data in DAMAGED:
            path.write_bytes(data)
            with pytest.raises(UserError) as error:
                read()
            assert path.name in str(error.value) or str(path.parent) in str(error.value)
            assert "\n" not in str(error.value)
            assert len(str(error.value)) < 400

    return check


def test_a_damaged_card(tmp_path, refused):
    refused(lambda: ModelCard.load(tmp_path / "a.json"), tmp_path / "a.json")


def test_a_damaged_manifest_of_a_data_set(tmp_path, refused):
    refused(lambda: stored.load_manifest(tmp_path), tmp_path / "manifest.json")


def test_a_damaged_summary(tmp_path, refused):
    path = tmp_path / "summary.json"
    path.write_bytes(b"[]")
    summary.check_summary(tmp_path)
    damaged = [data for data in DAMAGED if data != b"[]"]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"summary\.json exists already"):
            summary.check_summary(tmp_path)


def test_a_damaged_file_of_hyper_parameters(tmp_path, refused):
    refused(lambda: hyperparameters.load(tmp_path / "a.json", None), tmp_path / "a.json")


def test_a_damaged_description_of_a_training(tmp_path):
    for data in DAMAGED:
        (tmp_path / "training.json").write_bytes(data)
        with pytest.raises(UserError, match=str(tmp_path)):
            run_description.check(tmp_path / "training.json", {"model": "unet"}, "training")


def test_a_damaged_index_of_a_pool(tmp_path, refused):
    refused(lambda: AudioPool(tmp_path / "pool.json"), tmp_path / "pool.json")


def test_lines_that_are_damaged_are_passed_over(tmp_path):
    good = {"key": "k", "file": "f", "system": "s", "scores": {}, "unscored": {}}
    good |= {"snr_db": None, "class": None}
    lines = [*DAMAGED, b'{"key": "k"}', b'{"key": [], "file": "f"}', json.dumps(good).encode()]
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines))
    store = scorer.ScoreStore(tmp_path / "rows.jsonl")
    assert store.get("k") == good


def test_a_record_that_lacks_what_the_table_shows_is_none(tmp_path):
    """It ended the program at the table, after all of the work was done."""
    job = Job(tmp_path / "a.wav", tmp_path / "out" / "a.wav", tmp_path / "out")
    (tmp_path / "out").mkdir()
    begun = {"output": "a.wav", "status": "started"}
    done = {"output": "a.wav", "status": "done", "audio_s": "long", "options": {"plot": False}}
    lines = [*DAMAGED, *(json.dumps(entry).encode() for entry in (begun, done))]
    (tmp_path / "out" / "denoised.jsonl").write_bytes(b"\n".join(lines))
    assert JobLog(job.root).record(job) == begun


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("sha256", [], "`sha256` must be an object"),
        ("sha256", None, "`sha256` must be an object"),
        ("sha256", {".onnx": None}, "`sha256.*` must be a text"),
        ("audio", {"sample_rate": 10**9}, "`sample_rate` must be at most 768000"),
        ("audio", {"n_fft": 2**40, "frame_length": 2**41}, "`n_fft` must be at most"),
        ("audio", [], "`audio` must be an object"),
        ("features", {"n_mels": 10**9}, "`features.n_mels` must be"),
        ("features", {"floor_db": "low"}, "`features.floor_db` must be a number"),
        ("level_dbfs", float("nan"), "`level_dbfs` must be a number"),
        ("streaming", "yes", "`streaming` must be true or false"),
        ("hyperparameters", None, "`hyperparameters` must be an object"),
    ],
)
def test_a_card_with_one_wrong_field(tmp_path, field, value, sentence):
    card = {"model": "unet", "audio": {}, "features": {}, field: value}
    (tmp_path / "a.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match=rf"a\.json is not a model card: .*{sentence}"):
        ModelCard.load(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("audio", None),
        ("audio", {"sample_rate": "fast"}),
        ("split", {}),
        ("split", {"train": [0, 8]}),
        ("split", {"train": [0, 8], "validation": 4}),
        ("split", {"train": [0, 8], "validation": [8, None]}),
        ("path_save_time_serie", 5),
    ],
)
def test_a_manifest_with_one_wrong_field(tmp_path, run_main, field, value):
    folder = small_dataset.save(tmp_path / "set")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, field: value}))
    arguments = f"--path_save_spectrogram={folder}", f"--weights_folder={tmp_path}"
    outcome = run_main("--mode", "training", *arguments)
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: {folder}/manifest.json is not a manifest")


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x02\x00{}", b"text"])
def test_a_file_of_windows_that_is_damaged(tmp_path, data):
    folder = small_dataset.save(tmp_path / "set")
    (folder / "voice_amp_db.npy").write_bytes(data)
    with pytest.raises(UserError, match=r"Cannot read .*voice_amp_db\.npy as an array"):
        stored.StoredWindows(folder, "train", Features(), 4)


@pytest.mark.parametrize(
    "data", [b"nothing\n", b"{}\nno number\n", b"\xff\xfe\n", b"[" * 9999 + b"\n"]
)
def test_a_damaged_journal_is_that_of_another_data_set(tmp_path, data):
    (tmp_path / JOURNAL).write_bytes(data)
    store = WindowStore(tmp_path, [ArrayFile(tmp_path / "a.npy", np.int8, (4,))], {"seed": 1})
    with pytest.raises(UserError, match="holds another data set"), store.opened():
        pass
    with store.opened(overwrite=True):
        assert (tmp_path / "a.npy.partial").is_file()
