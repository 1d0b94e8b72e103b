import dataclasses
import hashlib
import json

import pytest

from speech_enhancement.config import AudioConfig
from speech_enhancement.errors import UserError
from speech_enhancement.inference.card import ModelCard, file_sha256
from speech_enhancement.signal.features import Features

CARD = ModelCard(
    model="unet",
    audio=AudioConfig(sample_rate=16000, n_fft=512, hop_length_fft=256),
    features=Features(representation="magnitude", target="mask", exponent=0.3),
    level_dbfs=None,
    hyperparameters={"base_filters": 16},
    sha256={".keras": "00"},
)


def test_what_is_saved_is_loaded(tmp_path):
    CARD.save(tmp_path / "card.json")
    assert ModelCard.load(tmp_path / "card.json") == CARD


def test_a_card_is_readable_json(tmp_path):
    CARD.save(tmp_path / "card.json")
    assert json.loads((tmp_path / "card.json").read_text()) == dataclasses.asdict(CARD)


def test_no_card(tmp_path):
    with pytest.raises(UserError, match=r"No model card at .*none\.json"):
        ModelCard.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda card: "not json",
        lambda card: "[]",
        lambda card: "7",
        lambda card: json.dumps({k: v for k, v in card.items() if k != "audio"}),
        lambda card: json.dumps({**card, "audio": {"n_fft": 0}}),
        lambda card: json.dumps({**card, "audio": {"n_fft": 512, "colour": "red"}}),
        lambda card: json.dumps({**card, "features": {"target": "poetry"}}),
        lambda card: json.dumps({**card, "taste": "sweet"}),
        lambda card: "\x00\xff",
    ],
)
def test_what_is_no_card_is_named(change, tmp_path):
    path = tmp_path / "card.json"
    path.write_bytes(change(dataclasses.asdict(CARD)).encode("latin-1"))
    with pytest.raises(UserError, match=r"card\.json is not a model card") as error:
        ModelCard.load(path)
    assert error.value.exit_code == 1


def test_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc" * 100000)
    expected = hashlib.sha256(b"abc" * 100000).hexdigest()
    assert file_sha256(tmp_path / "file") == expected
