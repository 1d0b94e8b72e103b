"""Training of all networks of a file of recipes, one after the other."""

import dataclasses

import pytest

from speech_enhancement.cli import args, learning_options, main
from speech_enhancement.errors import UserError
from speech_enhancement.inference import network_files
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.training import backups
from weights import make_model_cards, train_all

RECIPES = """
[mixing.short]
mix_n_rooms = 2
mix_snr_db = [0, 10]

[network.{}]
share = 3
mixing = "short"
model = "dncnn"
hyperparameter = ["filters=16", "depth=3"]

[network.second]
share = 1
mixing = "short"
model = "resnet"
loss = "mse"
hyperparameter = ["filters=16", "blocks=2"]
"""
SMALL = (
    *("--frame_length", "2016", "--batch_size", "2", "--steps_per_epoch", "2"),
    *("--validation_mixtures", "2", "--mixing_workers", "0", "--workers", "1"),
    *("--examples_every", "0"),
)


@pytest.fixture
def recipes(tmp_path):
    path = tmp_path / "recipes.toml"
    path.write_text(RECIPES.format("first"))
    return train_all.load_recipes(path)


@pytest.fixture
def options(tmp_path):
    return train_all.with_defaults([*SMALL, "--cache_dir", str(tmp_path / "cache")])


def test_every_shipped_network_has_a_recipe_of_its_hyperparameters():
    recipes = train_all.load_recipes(train_all.RECIPES)
    shipped = network_files.names_in(make_model_cards.WEIGHTS)
    assert sorted(recipe.name for recipe in recipes) == shipped
    for recipe in recipes:
        command = [*recipe.arguments(60.0, train_all.OUTPUT), *train_all.with_defaults([])]
        design = learning_options.design_of(args.parse(command))
        hyper_model = design.make(dataclasses.replace(design.default_audio, **design.audio))
        hp = design.choose_hyperparameters(hyper_model)
        hyper_model.network(hp)
        card = ModelCard.load(make_model_cards.WEIGHTS / f"{recipe.name}.json")
        values = {"loss": design.loss or hyper_model.default_loss, **hp.values}
        wanted = {k: v for k, v in card.hyperparameters.items() if k != "learning_rate"}
        assert {name: values[name] for name in wanted} == wanted


def test_networks_are_trained_scored_and_described_once(recipes, options, tmp_path):
    commands = []

    def run(command):
        commands.append(command)
        return main.main(list(command))

    def train():
        scored = ["si_sdr"]
        return train_all.train_all(recipes, 0.4, options, tmp_path, 2, scored, run=run)

    summary = train()
    assert [args.parse(command).max_seconds for command in commands] == [0.3, 0.1]
    for name in ("first", "second"):
        stem = tmp_path / "weights" / name
        assert all(network_files.file_of(stem, it).is_file() for it in network_files.SUFFIXES)
        assert "Validation mixtures, 2 pairs at 16000 Hz" in stem.with_suffix(".md").read_text()
    assert list(summary["scores"]) == ["noisy", "first", "second"]
    # What is trained is not trained again.
    assert train()["scores"] == summary["scores"]
    assert len(commands) == 2


def test_an_interrupted_training_goes_on_and_a_failed_one_ends_the_command(
    recipes, options, tmp_path
):
    backups.save(tmp_path / "runs" / "first", lambda path: path.write_text("weights"), 3, 1.0)
    commands = []

    def run(command):
        commands.append(command)
        return 3

    with pytest.raises(UserError, match="The training of first ended with exit code 3"):
        train_all.train_all(recipes, 8, options, tmp_path, 2, ["si_sdr"], run=run)
    with pytest.raises(UserError, match="second"):
        train_all.train_all(recipes[1:], 8, options, tmp_path, 2, ["si_sdr"], run=run)
    assert [args.parse(command).resume for command in commands] == [True, False]


def test_shipped_networks_are_replaced_only_when_asked(recipes, options, tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    monkeypatch.setattr(train_all.places, "WEIGHTS", shipped)
    monkeypatch.setattr(train_all, "score", lambda *arguments: {})
    for suffix in network_files.SUFFIXES:
        for folder in (shipped, tmp_path / "weights"):
            folder.mkdir(exist_ok=True)
            (folder / f"first{suffix}").write_text(folder.name)
    (tmp_path / "weights" / "first.onnx").unlink()
    for overwrite in (False, True):
        train_all.train_all(recipes[:1], 8, options, tmp_path, 2, overwrite=overwrite)
        assert (shipped / "first.json").read_text() == ("weights" if overwrite else "shipped")
    # The twin was that of the network before.
    assert not (shipped / "first.onnx").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[network", "is not TOML"),
        ("[mixing.a]", r"has no tables \[network.NAME\]"),
        ('[mixing.a]\n[network.b]\nshare = 0\nmixing = "a"', "`share` of b must be a number above"),
        ("[mixing.a]\n[network.b]\nshare = 1", "`mixing` of b must be one of a"),
    ],
)
def test_a_mistake_in_the_recipes_is_told_in_a_sentence(text, message, tmp_path):
    (tmp_path / "recipes.toml").write_text(text)
    with pytest.raises(UserError, match=message):
        train_all.load_recipes(tmp_path / "recipes.toml")


def test_the_command_tells_what_is_wrong_before_it_trains(tmp_path, capsys):
    folder = ["--output_dir", str(tmp_path)]
    assert train_all.main(["--seconds", "9", *folder, "--networks", "dccrn"]) == 2
    assert "`networks` must be of dpcrn_offline, dpcrn," in capsys.readouterr().err
    assert train_all.main(["--seconds", "9", *folder, "--batch_sise", "4"]) == 2
    assert "No option is called `--batch_sise`" in capsys.readouterr().err
    assert train_all.main(["--seconds", "9", *folder, "--epochs", "3"]) == 2
    assert "`--epochs` only has an effect without --max_seconds" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_training_has_a_process_of_its_own_whose_exit_code_is_seen():
    assert train_all._in_own_process(["--mode", "training", "--resume=1"]) == 2
