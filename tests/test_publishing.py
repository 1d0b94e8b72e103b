"""A network published to the Hugging Face Hub and loaded from it: one on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import hub_server
import numpy as np
import pytest
import small_disk
import small_networks
from conftest import REPOSITORY

from speech_enhancement import Enhancer
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.export import publishing
from speech_enhancement.files import audio_io
from speech_enhancement.inference import hub

TIME_LIMIT_S = 60
LOAD = """
import json, sys
from speech_enhancement import Enhancer, UserError
for address in sys.argv[1:]:
    try:
        enhancer = Enhancer.load(address)
        print(json.dumps([enhancer.card.model, ""]))
    except UserError as error:
        print(json.dumps(["", str(error)]))
"""


@pytest.fixture
def stem(tmp_path):
    (tmp_path / "weights").mkdir()
    return small_networks.save_gain(tmp_path / "weights", 6.0)


@pytest.fixture
def server():
    with hub_server.serving() as serving:
        yield serving


@pytest.fixture
def run(tmp_path, server):
    """A function (arguments...) -> the finished process of a Python whose Hub is `server`."""

    def start(*arguments, token=hub_server.TOKEN):
        home = {"HF_ENDPOINT": server.address, "HF_HOME": str(tmp_path / "home")}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=REPOSITORY,
            env=environment | home | {"HF_TOKEN": token},
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
        )

    return start


def card_of(folder):
    """A model card as the Hub reads it."""
    from huggingface_hub import ModelCard

    return ModelCard.load(folder / "README.md")


def test_a_full_disk_ends_in_a_sentence(tmp_path, stem, run_main):
    command = ["--mode", "publish", "--weights_folder", stem.parent, "--name_model", stem.name]
    with small_disk.of(100):
        outcome = run_main(*command, "--publish_dir", tmp_path / "folder")
    assert outcome.code == 1
    network = tmp_path / "folder" / f"{stem.name}.onnx"
    assert outcome.err == f"error: Cannot write {network}: {small_disk.FULL}\n"
    assert not list((tmp_path / "folder").iterdir())


def test_only_a_folder_of_the_network_is_written_into(tmp_path, stem, run_main):
    command = ["--mode", "publish", "--weights_folder", stem.parent, "--name_model", stem.name]
    for _ in range(2):  # it may be published again
        assert run_main(*command, "--publish_dir", tmp_path / "folder").code == 0
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "README.md").write_text("mine")
    outcome = run_main(*command, "--publish_dir", tmp_path / "project")
    assert outcome.code == 2
    assert outcome.err.startswith(
        "error: `publish_dir` must be a new folder or that of this network"
    )
    assert [path.name for path in (tmp_path / "project").iterdir()] == ["README.md"]
    assert (tmp_path / "project" / "README.md").read_text() == "mine"
    outcome = run_main(*command, "--publish_dir", stem.parent)
    assert outcome.code == 2
    assert "must not be the folder of the network" in outcome.err
    assert not (stem.parent / "README.md").exists()


def test_network_goes_to_the_hub_and_comes_back(tmp_path, stem, server, run, demo_data):
    published = run(
        *("main.py", "--mode", "publish", "--weights_folder", stem.parent),
        *("--name_model", stem.name, "--publish_dir", tmp_path / "folder", "--repo", "me/quiet"),
    )
    assert published.returncode == 0, published.stderr
    assert "--name_model hf://me/quiet" in published.stdout
    files = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    assert server.files["me/quiet"] == files
    assert set(files) == {"README.md", "LICENSE", "gain_6.0.onnx", "gain_6.0.json"}

    recording = demo_data / "noisy" / "hum.wav"
    denoise = ("main.py", recording, "--name_model", "hf://me/quiet@main", "--dir_save_prediction")
    first = run(*denoise, tmp_path / "first")
    assert first.returncode == 0, first.stderr
    before, after = (
        audio_io.load_audio(path)[0] for path in (recording, tmp_path / "first" / "hum.wav")
    )
    attenuation_db = 10 * np.log10(np.mean(before**2) / np.mean(after**2))
    assert attenuation_db == pytest.approx(6.0, abs=0.5)

    server.files["me/changed"] = files | {"gain_6.0.onnx": files["gain_6.0.onnx"] + b" "}
    server.files["me/other"] = {"config.json": b'{"model": "bert"}'}
    server.files["me/two"] = files | {"twin.json": files["gain_6.0.json"]}
    names = ("me/quiet", "me/changed", "me/other", "me/two", "me/none", "me/quiet@v9")
    loaded = run("-c", LOAD, *(f"hf://{name}" for name in names))
    models, sentences = zip(*map(json.loads, loaded.stdout.splitlines()), strict=True)
    assert models == ("unet", "", "", "", "", "")
    assert "is not the network that gain_6.0.json describes" in sentences[1]
    assert "must hold one network with its card. Received: none" in sentences[2]
    assert "Received: those of gain_6.0, twin" in sentences[3]
    assert "there is no such repository, or it is private" in sentences[4]
    assert "there is no such revision" in sentences[5]

    server.shutdown()
    server.server_close()
    offline = run("-c", LOAD, "hf://me/quiet", "hf://me/new")
    (model, _), (_, sentence) = map(json.loads, offline.stdout.splitlines())
    assert model == "unet"  # from the cache
    assert "it is not in the cache, and the Hub cannot be reached" in sentence


def test_upload_without_permission_ends_in_a_sentence(tmp_path, stem, run):
    outcome = run(
        *("main.py", "--mode", "publish", "--weights_folder", stem.parent, "--name_model"),
        *(stem.name, "--publish_dir", tmp_path / "folder", "--repo", "me/quiet"),
        token="hf_of_somebody_else",
    )
    assert outcome.returncode == 1
    assert "Cannot upload to me/quiet: " in outcome.stderr
    assert "hf auth login" in outcome.stderr
    assert len(outcome.stderr.strip().splitlines()) == 1


def test_model_card_has_the_metadata_that_the_hub_reads(tmp_path, run_main):
    outcome = run_main(
        *("--mode", "publish", "--name_model", "dpcrn", "--publish_dir", tmp_path),
        *("--report", REPOSITORY / "benchmarks" / "RESULTS.json"),
    )
    assert outcome.code == 0, outcome.err
    card = card_of(tmp_path)
    assert card.data.license == "mit"
    assert card.data.pipeline_tag == "audio-to-audio"
    results = json.loads((REPOSITORY / "benchmarks" / "RESULTS.json").read_text())
    expected = results[0]["scores"]["dpcrn"]["pesq_wb"]["mean"]
    found = [each for each in card.data.eval_results if each.metric_type == "pesq-wb"]
    assert [each.metric_value for each in found] == [pytest.approx(expected, abs=1e-4)]
    assert "## Intended use" in card.text
    assert "![" not in card.text  # pictures do not travel with it
    assert {path.suffix for path in tmp_path.iterdir()} >= {".keras", ".onnx", ".json"}


def test_another_licence_comes_with_its_text_or_without(tmp_path, stem):
    licence = publishing.Licence("cc-by-nc-4.0")
    publishing.publish_network(stem, tmp_path / "without", licence)
    assert card_of(tmp_path / "without").data.license == "cc-by-nc-4.0"
    assert not (tmp_path / "without" / "LICENSE").exists()
    terms = tmp_path / "terms.txt"
    terms.write_text("Be fair.\n")
    publishing.publish_network(
        stem, tmp_path / "with", publishing.Licence("other", terms), repo=None
    )
    assert (tmp_path / "with" / "LICENSE").read_text() == "Be fair.\n"


def test_damaged_network_is_not_published(tmp_path, stem):
    path = stem.with_name(f"{stem.name}.onnx")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="is not the network that"):
        publishing.publish_network(stem, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--name_model", "missing"), 1, "No model card at"),
        (("--repo", "quiet"), 2, "`repo` must be user/name. Received: quiet"),
        (("--license", "My own"), 2, "`license` must be a name of the Hugging Face Hub"),
        (("--license_file", "missing.txt"), 1, "Cannot read the licence missing.txt"),
        (("--report", "missing.json"), 1, "Cannot read missing.json"),
        (("--private",), 2, "`--private` only has an effect with --repo"),
        (("--publish_dir", "/dev/null/folder"), 1, "Cannot write"),
    ],
)
def test_wrong_options_end_in_a_sentence(tmp_path, run_main, options, code, sentence):
    outcome = run_main("--mode", "publish", "--publish_dir", tmp_path / "folder", *options)
    assert outcome.code == code
    assert sentence in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "address", ["hf://", "hf://user", "hf://a/b/c", "hf://a/b@", "hf://a/../b"]
)
def test_address_without_a_repository_is_refused(address):
    with pytest.raises(UsageError, match="must be named hf://user/name or"):
        Enhancer.load(address)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"needs huggingface_hub: run `pip install -r requirements"):
        hub.fetch("hf://user/name")
