"""Every stage is a function that a program can call with plain values."""

import io
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import small_dataset
import small_networks
from conftest import REPOSITORY

import speech_enhancement
from speech_enhancement import (
    AudioConfig,
    BatchSettings,
    Design,
    Destination,
    Enhancer,
    FileOptions,
    Learning,
    MixedData,
    MixingConfig,
    PairFolders,
    Preparation,
    RawFormat,
    Run,
    Searching,
    StoredData,
    UsageError,
    UserError,
    WindowSettings,
    create_data,
    denoise_files,
    denoise_pipe,
    evaluate,
    export_networks,
    stream_pipe,
    train,
    tune,
)
from speech_enhancement.files import audio_io

# Keras Tuner's own.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")

RATE = small_dataset.AUDIO.sample_rate
GEOMETRY = small_dataset.AUDIO.to_dict()
SMALL = {"filters": 16, "depth": 3}


def test_importing_the_package_imports_nothing_heavy_and_names_its_stages():
    program = (
        "import sys, speech_enhancement\n"
        "assert not {'numpy', 'keras', 'tensorflow'} & set(sys.modules)\n"
        "for name in speech_enhancement.__all__: getattr(speech_enhancement, name)\n"
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = speech_enhancement.nothing


@pytest.fixture(scope="module")
def windows(demo_data, tmp_path_factory):
    """A small data set, made by `create_data`."""
    folder = tmp_path_factory.mktemp("windows")
    created = create_data(
        AudioConfig(**GEOMETRY),
        Preparation(RATE, str(folder / "cache"), seed=1),
        WindowSettings(f"{folder}/spectrogram", f"{folder}/time", f"{folder}/sound", nb_samples=20),
        {"voice_dir": [f"{demo_data}/voices"], "noise_dir": [f"{demo_data}/noises"]},
        MixingConfig.plain(snr_db=(0.0, 5.0)),
    )
    assert created.n_windows == 20 and not created.left_out
    return created.folder


def test_create_data_needs_voices_and_noises_or_pairs(demo_data, tmp_path):
    settings = WindowSettings(tmp_path, tmp_path, tmp_path)
    with pytest.raises(UsageError, match="Give either --voice_dir and --noise_dir, or "):
        create_data(
            AudioConfig(), Preparation(RATE, tmp_path), settings, {"voice_dir": [demo_data]}
        )


@pytest.fixture(scope="module")
def trained(windows, tmp_path_factory):
    """A small network, trained by `train`."""
    folder = tmp_path_factory.mktemp("trained")
    return train(
        StoredData(str(windows)),
        Design("dncnn", loss="mse", hyperparameters=SMALL),
        Learning(epochs=1, batch_size=6, examples_every=0),
        Run("mine", f"{folder}/weights", f"{folder}/runs"),
    )


def test_train_gives_a_network_that_enhances(trained, speech):
    assert trained.card.model == "dncnn" and trained.card.training["epochs"] == 1
    assert (trained.folder / "log.csv").is_file()
    noisy = speech(RATE, 0.5)
    assert Enhancer.load(trained.stem).enhance(noisy, RATE).shape == noisy.shape


def test_train_refuses_as_the_command_does(trained, windows):
    folders = Run("other", trained.stem.parent, trained.folder.parent, resume=True)
    with pytest.raises(UserError, match="No interrupted training to resume"):
        train(StoredData([windows]), run=folders)


def test_train_learns_from_mixtures(demo_data, tmp_path):
    data = MixedData(
        f"{demo_data}/voices",
        [f"{demo_data}/noises"],
        cache_dir=f"{tmp_path}/cache",
        recipe=MixingConfig(n_rooms=2),
        steps_per_epoch=2,
        validation_mixtures=2,
        mixing_workers=0,
    )
    trained = train(
        data,
        Design("dncnn", audio=GEOMETRY, hyperparameters=SMALL),
        Learning(epochs=1, batch_size=2, examples_every=0),
        Run(None, tmp_path / "weights", tmp_path / "runs"),
    )
    assert trained.stem == tmp_path / "weights" / "dncnn_1"
    assert trained.card.audio.to_dict() == GEOMETRY


def test_tune_gives_what_train_takes(windows, tmp_path, monkeypatch):
    compile_as_usual = keras.Model.compile
    monkeypatch.setattr(
        keras.Model,
        "compile",
        lambda self, **fields: compile_as_usual(self, **fields, run_eagerly=True),
    )
    tuned = tune(
        StoredData(windows),
        Design("dncnn", loss="mse", hyperparameters=SMALL),
        Searching("random", max_trials=2, epochs=1, dir_tuning=str(tmp_path)),
    )
    assert tuned.folder == tmp_path / "dncnn" and tuned.values["depth"] == 3
    assert json.loads(tuned.best.read_text())["trial"] == tuned.trial
    design = Design("dncnn", loss="mse", hyperparameters_file=tuned.best)
    hyper_model = design.make(AudioConfig(**GEOMETRY))
    chosen = design.choose_hyperparameters(hyper_model).values
    assert chosen == {name: value for name, value in tuned.values.items() if name in chosen}


def test_evaluate_gives_scores_beside_those_of_the_noisy_input(trained, demo_data, tmp_path):
    evaluated = evaluate(
        PairFolders(f"{demo_data}/clean", f"{demo_data}/noisy", limit=1),
        [str(trained.stem)],
        ["wiener"],
        metrics=["si_sdr"],
        rate=RATE,
        report_dir=f"{tmp_path}/report",
        worst=0,
        measure_cost=False,
    )
    assert [row["system"] for row in evaluated.rows] == ["noisy", "mine", "wiener"]
    assert list(evaluated.summary["scores"]) == ["noisy", "mine", "wiener"]
    assert (evaluated.folder / "report.md").is_file()


def test_export_networks_keeps_what_sounds_the_same(trained, speech, tmp_path):
    audio_io.save_audio(tmp_path / "recordings" / "short.wav", speech(RATE, 0.5), RATE)
    rows = export_networks(
        [str(trained.stem)], ["onnx"], f"{tmp_path}/exported", recordings=f"{tmp_path}/recordings"
    )
    assert [(row.format, row.reason) for row in rows] == [("keras", ""), ("onnx", "")]
    assert (tmp_path / "exported" / "mine.onnx").is_file()
    with pytest.raises(UsageError, match="`formats` must name some of"):
        export_networks([trained.stem], [])


def test_denoise_files_says_how_each_recording_went(demo_data, tmp_path, capsys):
    noisy = tmp_path / "noisy"
    noisy.mkdir()
    shutil.copy(demo_data / "noisy" / "alarm.wav", noisy)
    (noisy / "broken.wav").write_bytes(b"RIFF")
    settings = BatchSettings(str(small_networks.save_stream(tmp_path)))
    destination = Destination(f"{tmp_path}/denoised")
    denoised = denoise_files(str(noisy), destination, settings, clean_dir=f"{demo_data}/clean")
    done, failed = denoised.records
    assert (done["status"], failed["status"]) == ("done", "failed") and denoised.has_failures
    assert {"si_sdr_in_db", "si_sdr_out_db"} <= set(done)
    assert failed["error"] in capsys.readouterr().err
    assert json.loads((tmp_path / "denoised" / "summary.json").read_text()) == denoised.records
    again = denoise_files([noisy / "alarm.wav"], destination, settings)
    assert [record["status"] for record in again.records] == ["skipped"]


def test_denoise_files_finds_a_shipped_network_by_its_name(demo_data, tmp_path):
    recording = demo_data / "noisy" / "alarm.wav"
    denoised = denoise_files(recording, Destination(tmp_path), BatchSettings("dpcrn"))
    assert denoised.records[0]["options"]["network"] == "dpcrn"
    assert (tmp_path / "alarm.wav").is_file() and not denoised.has_failures
    with pytest.raises(UsageError, match="`end` must be after `start`"):
        FileOptions(start_s=2.0, end_s=1.0)


def test_pipes_give_what_the_enhancer_gives(speech, tmp_path):
    stem, raw = small_networks.save_stream(tmp_path), RawFormat.parse("f32,16000")
    sound = speech(16000, 0.5)[None]
    wanted = Enhancer.load(stem).stream(16000, 1, 0)
    wanted = np.concatenate([wanted.feed(sound), wanted.flush()], axis=1)
    for pipe, arguments in (
        (stream_pipe, lambda *ends: (Enhancer.load(stem), *ends, raw)),
        (
            denoise_pipe,
            lambda *ends: (*ends, BatchSettings(stem, file_options=FileOptions(raw)), ".raw"),
        ),
    ):
        source, sink = io.BytesIO(raw.encode(sound)), io.BytesIO()
        pipe(*arguments(source, sink))
        np.testing.assert_allclose(raw.decode(sink.getvalue()), wanted, atol=1e-6)
