"""Networks in other formats: each runs, sounds like Keras, or is named and not kept."""

import contextlib
import dataclasses
import io
import json
import os
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_tuner
import numpy as np
import pytest
import small_disk

from speech_enhancement import registry
from speech_enhancement.cli import main
from speech_enhancement.config import AudioConfig
from speech_enhancement.export import check, exporting, report
from speech_enhancement.export import formats as exporters
from speech_enhancement.export.check import RealSound, difference
from speech_enhancement.export.report import ExportRow
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.training import saving

SMALL = {
    "unet": {"base_filters": 8, "depth": 2},
    "dpcrn": {"channels": 16, "core_channels": 16, "core_bands": 16, "core_blocks": 2},
    "dpcrn_offline": {
        **{"channels": 16, "core_channels": 16, "core_bands": 16, "core_blocks": 2},
        **{"time_units": 32, "bidirectional": True},
    },
    "conv1d": {"filters": 16, "skip_connections": True, "multi_scale": True},
}
INT8_DB = 8.0
FORMATS = list(registry.EXPORT_FORMATS)
WINDOW_AUDIO = AudioConfig(sample_rate=8000, n_fft=63, hop_length_fft=31, frame_length=4096)


def save(name, folder):
    """A small network with random weights and biases."""
    keras.utils.set_random_seed(0)
    model_class = registry.resolve(registry.MODELS, "model", name.removesuffix("_offline"))
    own = model_class.default_audio
    stream_audio = dataclasses.replace(own, frame_length=8192)
    hyper_model = model_class(audio=WINDOW_AUDIO if own == AudioConfig() else stream_audio)
    hp = keras_tuner.HyperParameters()
    hp.values = dict(SMALL[name])
    model = hyper_model.network(hp)
    rng = np.random.default_rng(0)
    model.set_weights([w + 0.02 * rng.standard_normal(w.shape) for w in model.get_weights()])
    if name.startswith("dpcrn"):  # its random mask would make the sound louder than full scale
        last = model.get_layer("unfold")
        last.set_weights([0.5 * w for w in last.get_weights()])
    saving.save_network(folder / name, model, hyper_model, hyperparameters=SMALL[name])


@pytest.fixture(scope="module", autouse=True)
def one_recording(tmp_path_factory, demo_data):
    """Compare on one recording and measure once; in 8 bits, random weights lose more than real."""
    folder = tmp_path_factory.mktemp("recordings")
    shutil.copy(demo_data / "noisy" / "alarm.wav", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "RECORDINGS", folder)
        patch.setattr(check, "REPEATS", 1)
        patch.setattr(exporters.Int8, "least_si_sdr_db", INT8_DB)
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for name in SMALL:
        save(name, folder)
    return folder


@pytest.fixture(scope="module")
def exported(weights, tmp_path_factory):
    """The folder of one export of all networks in all formats, and what it printed."""
    folder, printed = tmp_path_factory.mktemp("export"), io.StringIO()
    options = ["--models", "all", "--weights_folder", str(weights), "--export_dir", str(folder)]
    with contextlib.redirect_stdout(printed):
        assert main.main(["--mode", "export", *options]) == 0
    return folder, printed.getvalue()


def export(run_main, weights, folder, *options):
    network = [] if {"--models", "--name_model"} & {*options} else ["--name_model", "unet"]
    folders = ["--weights_folder", weights, "--export_dir", folder]
    return run_main("--mode", "export", *network, *folders, *options)


@pytest.mark.parametrize("name", SMALL)
def test_every_format_sounds_like_keras(exported, name):
    folder, printed = exported
    rows = json.loads((folder / "export.json").read_text())["rows"]
    rows = {row["format"]: row for row in rows if row["network"] == name}
    assert list(rows) == ["keras", *FORMATS]
    for kind in FORMATS:
        row = rows[kind]
        assert (folder / row["file"]).exists()
        assert row["si_sdr_db"] > (INT8_DB if kind == "int8" else 60)
        assert row["max_abs"] < (0.1 if kind == "int8" else 1e-3)
        assert row["n_bytes"] > 0
        assert row["ms_per_s"] > 0
        assert f"| {name} | {kind} | `{row['file']}` |" in printed
    assert (rows["keras"]["ms_per_s"] is None) == (name == "dpcrn")
    assert rows["int8"]["n_bytes"] < rows["onnx"]["n_bytes"]
    assert rows["int8"]["si_sdr_db"] < rows["onnx"]["si_sdr_db"]


def test_nothing_else_is_left_behind(exported):
    folder, _ = exported
    names = {f"{n}{s}" for n in SMALL for s in (".onnx", ".tflite", ".json", "_saved_model")}
    names |= {f"{name}_int8{suffix}" for name in SMALL for suffix in (".onnx", ".json")}
    assert {path.name for path in folder.iterdir()} == names | {"export.json", "export.md"}


def test_report_is_the_table_that_was_printed(exported):
    folder, printed = exported
    summary = json.loads((folder / "export.json").read_text())
    table = report.table([ExportRow(**row) for row in summary["rows"]])
    assert table in printed
    assert table in (folder / "export.md").read_text()
    assert {"date", "machine", "versions", "command"} == set(summary["about"])


@pytest.mark.parametrize("name", ["unet", "dpcrn", "dpcrn_offline", "unet_int8", "dpcrn_int8"])
def test_prediction_runs_what_was_exported(exported, weights, speech, name):
    folder, _ = exported
    sound = speech(16000, 1.0)
    wanted = Enhancer.load(weights / name.removesuffix("_int8")).enhance(sound, 16000)
    got = Enhancer.load(folder / name).enhance(sound, 16000)
    least_db = INT8_DB if name.endswith("_int8") else 60
    assert difference(wanted, got, 16000).si_sdr_db > least_db


def test_a_later_export_keeps_what_an_earlier_one_left(weights, tmp_path, run_main):
    command = ("--mode", "export", "--models", "unet", "--weights_folder", weights)
    for formats in ("onnx", "litert"):
        assert run_main(*command, "--export_dir", tmp_path, "--formats", formats).code == 0
    assert set(ModelCard.load(tmp_path / "unet.json").sha256) == {".onnx", ".tflite"}
    assert Enhancer.load(tmp_path / "unet", runtime="onnx")
    (tmp_path / "unet.onnx").write_bytes(b"another network")
    assert run_main(*command, "--export_dir", tmp_path, "--formats", "litert").code == 0
    assert set(ModelCard.load(tmp_path / "unet.json").sha256) == {".tflite"}


@pytest.mark.parametrize("kind", ["onnx", "litert", "saved_model"])
def test_state_is_handed_on_from_frame_to_frame(exported, weights, demo_data, kind):
    """With the state thrown away, the sound would be another."""
    folder, _ = exported
    card = ModelCard.load(weights / "dpcrn.json")
    exporter = registry.resolve(registry.EXPORT_FORMATS, "formats", kind)()
    network = exporter.read(folder / f"dpcrn{exporter.suffix}", card)
    sound = RealSound.load(card, [demo_data / "noisy" / "alarm.wav"])
    frames = sound.inputs[:, :20]
    alone = np.concatenate([network(frame) for frame in np.split(frames, 20, axis=1)], axis=1)
    together = network(frames)
    np.testing.assert_allclose(together[:, 0], alone[:, 0], rtol=1e-5, atol=1e-6)
    assert np.abs(together[:, 10:] - alone[:, 10:]).max() > 1e-3 * np.abs(together).max()


def test_what_differs_too_much_is_named_and_not_kept(weights, tmp_path, monkeypatch, run_main):
    monkeypatch.setattr(exporters.Onnx, "least_si_sdr_db", 400.0)
    outcome = export(run_main, weights, tmp_path, "--name_model", "dpcrn", "--formats", "onnx")
    assert outcome.code == 1
    assert "not kept: dpcrn.onnx: its sound differs from that of Keras: SI-SDR" in outcome.err
    assert "| onnx |" not in outcome.out
    assert {path.name for path in tmp_path.iterdir()} == {"export.json", "export.md"}
    assert "Not kept: dpcrn.onnx: its sound differs" in (tmp_path / "export.md").read_text()


def test_what_does_not_run_is_named_and_not_kept(weights, tmp_path, monkeypatch, run_main):
    def fail(*_):
        raise RuntimeError("no kernel for this operator\nand a long story")

    monkeypatch.setattr(exporters.Onnx, "read", fail)
    (tmp_path / "dpcrn.onnx").write_bytes(b"an older one")
    outcome = export(run_main, weights, tmp_path, "--name_model", "dpcrn", "--formats", "onnx")
    assert outcome.code == 1
    assert "not kept: dpcrn.onnx: no kernel for this operator\n" in outcome.err
    assert (tmp_path / "dpcrn.onnx").read_bytes() == b"an older one"


@pytest.mark.parametrize("got", [np.full(100, np.nan), np.zeros(99), np.zeros(100)])
def test_what_is_no_sound_is_not_like_any(rng, got):
    with pytest.raises(exporters.UserError, match="its output"):
        difference(rng.standard_normal(100), got, 8000)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk_ends_in_a_sentence_and_leaves_nothing(
    kind, weights, tmp_path, monkeypatch, run_main
):
    exporter = registry.resolve(registry.EXPORT_FORMATS, "formats", kind)
    write = exporter.write

    def write_on_a_full_disk(*arguments):
        with small_disk.of(1000):
            write(*arguments)

    monkeypatch.setattr(exporter, "write", write_on_a_full_disk)
    outcome = export(run_main, weights, tmp_path, "--formats", *dict.fromkeys(("onnx", kind)))
    assert outcome.code == 1
    assert outcome.err == f"error: Cannot write {tmp_path}: {small_disk.FULL}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--formats", "onnx", "tflite"], 2, "`--formats` must be one of onnx, int8, litert"),
        (["--formats", ","], 2, "`formats` must name some of onnx, int8"),
        (["--models", "missing"], 1, "No network at"),
        (["--export_dir", "{weights}"], 2, "`export_dir` must not be `weights_folder`"),
        (["--export_dir", "{weights}/unet.onnx"], 1, "Cannot write"),
        (["--models", "all", "--weights_folder", "{weights}/none"], 1, "no networks in"),
    ],
)
def test_mistakes_end_in_a_sentence(weights, tmp_path, run_main, options, code, sentence):
    options = [text.format(weights=weights) for text in options]
    outcome = export(run_main, weights, tmp_path / "out", *options)
    assert outcome.code == code
    assert sentence in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_network_that_is_not_its_cards_is_refused(weights, tmp_path, run_main):
    (tmp_path / "other.json").write_bytes((weights / "unet.json").read_bytes())
    (tmp_path / "other.keras").write_bytes((weights / "dpcrn.keras").read_bytes())
    outcome = export(run_main, tmp_path, tmp_path / "out", "--name_model", "other")
    assert outcome.code == 1
    assert "is not the network that other.json describes" in outcome.err


def test_what_is_not_installed_is_told_before_anything_is_done(
    weights, tmp_path, run_main, monkeypatch
):
    monkeypatch.setattr(exporters.LiteRT, "packages", ("no_such_package",))
    outcome = export(run_main, weights, tmp_path / "out", "--name_model", "unet")
    assert outcome.code == 1
    assert outcome.err == (
        "error: The format litert needs `pip install -r requirements-extra.txt`\n"
    )
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    outcome = export(run_main, weights, tmp_path / "out", "--formats", "saved_model")
    assert "set KERAS_BACKEND=tensorflow. Received: jax" in outcome.err
    assert not (tmp_path / "out").exists()
