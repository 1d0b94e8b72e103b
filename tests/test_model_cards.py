"""Every network that the repository ships has a page, made of its card and its scores."""

import json
import re
import subprocess
import sys

import pytest

from speech_enhancement.inference.card import ModelCard
from weights import make_model_cards

NAMES = sorted(path.stem for path in make_model_cards.WEIGHTS.glob("*.json"))
STREAMING = {
    "model": "dpcrn",
    "audio": {"sample_rate": 16000, "n_fft": 512, "hop_length_fft": 256, "frame_length": 32000},
    "features": {"representation": "complex", "target": "clean"},
    "level_dbfs": None,
    "streaming": True,
    "training": {
        "losses": {"loss": 1.0},
        "seed": 3,
        "data": "voices: A (CC0); noises: B (MIT)",
        "curve": [{"epoch": 0, "loss": 2.0, "val_loss": 3.0}],
        "tried": [["half the batch", "loss 4.2 -> 4.1"]],
    },
}


@pytest.fixture(scope="module")
def results():
    return json.loads(make_model_cards.RESULTS.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_page_is_what_the_script_makes(name, results):
    path = make_model_cards.WEIGHTS / f"{name}.json"
    page = make_model_cards.model_card(name, ModelCard.load(path), results)
    assert path.with_suffix(".md").read_text() == page, "run `make model-cards`"


@pytest.mark.parametrize("name", NAMES)
def test_page_says_what_someone_needs_to_know(name):
    path = make_model_cards.WEIGHTS / f"{name}.md"
    page = path.read_text()
    sections = [line[3:] for line in page.splitlines() if line.startswith("## ")]
    wanted = ["Use", "Intended use", "Limits", "Scores", "Training", "Data and its licence"]
    assert [s for s in sections if s != "What was tried"] == [*wanted, "Network", "Files"]
    for fact in ("| seed |", "| hours of training audio |", "CC BY", "| `" + name + ".onnx` |"):
        assert fact in page


@pytest.mark.parametrize("own_layers", [True, False])
def test_pages_say_how_keras_opens_the_networks(own_layers):
    """In a process that knows nothing of this project but what the pages tell it."""
    lines, found = ["import keras"], 0
    for name in NAMES:
        page = (make_model_cards.WEIGHTS / f"{name}.md").read_text()
        imported = re.findall(r"`(import speech_enhancement\S+)` makes them known to", page)
        if bool(imported) == own_layers:
            lines += [*imported, *re.findall(r"`(keras.saving.load_model\(.*\))`", page)]
            found += 1
    assert found
    assert sum("load_model" in line for line in lines) == found
    command = [sys.executable, "-c", "\n".join(lines)]
    subprocess.run(command, cwd=make_model_cards.REPOSITORY, check=True, timeout=300)


def test_no_page_is_without_its_network():
    assert sorted(path.stem for path in make_model_cards.WEIGHTS.glob("*.md")) == NAMES


def test_page_follows_the_card_and_the_scores(tmp_path, monkeypatch, results):
    (tmp_path / "mine.json").write_text(json.dumps(STREAMING))
    scores = results[0]["scores"]
    changed = results[0] | {"scores": {"noisy": scores["noisy"], "mine": scores["wiener"]}}
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "results.json").write_text(json.dumps([changed]))
    monkeypatch.setattr(make_model_cards, "WEIGHTS", tmp_path)
    monkeypatch.setattr(make_model_cards, "RESULTS", tmp_path / "results" / "results.json")
    make_model_cards.main()
    page = (tmp_path / "mine.md").read_text()
    assert "frame by frame" in page
    assert "python main.py --mode streaming --name_model mine" in page
    assert "delays sound at its own rate by 32 ms" in page
    assert "dBFS" not in page
    assert "- Voices: A (CC0).\n- Noises: B (MIT)." in page
    assert "non-commercial" not in page
    assert "![Loss over the epochs](mine.png)" in page
    assert (tmp_path / "mine.png").stat().st_size > 5000
    assert "## What was tried\n\n| change | effect |" in page
    assert "| half the batch | loss 4.2 -> 4.1 |" in page
    assert f" {scores['wiener']['si_sdr']['mean']:.2f} ±" in page


def test_page_without_scores_says_so():
    assert "None published yet" in make_model_cards.scores("unknown", [])
