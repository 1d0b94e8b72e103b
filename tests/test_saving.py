"""What a network's file gives to a training that goes on with it."""

import gc
import weakref

import keras
import keras_tuner
import numpy as np
import onnxruntime
import pytest
from small_dataset import AUDIO
from tf2onnx import optimizer as passes

from speech_enhancement.inference import keras_archive
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.models.dncnn import DnCNN
from speech_enhancement.training import saving


def trained(optimizer, seed=0):
    """A network of one layer after three steps."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile(optimizer, loss="mse")
    generator = np.random.default_rng(seed)
    for _ in range(3):
        x, y = generator.standard_normal((8, 4)), generator.standard_normal((8, 3))
        model.train_on_batch(x.astype("float32"), y.astype("float32"))
    return model


def moments(model):
    return [
        keras.ops.convert_to_numpy(v)
        for v in model.optimizer.variables
        if v.name not in ("iteration", "learning_rate")
    ]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_the_optimizer_goes_on_where_it_was_but_for_its_schedule(optimizer, tmp_path):
    first = trained(optimizer)
    first.save(tmp_path / "first.keras")
    second = trained(optimizer, seed=1)
    second.optimizer.learning_rate = 0.25
    saved = keras_archive.load(tmp_path / "first.keras", compile=True)
    assert saving.copy_moments(saved, second)
    assert all(np.array_equal(a, b) for a, b in zip(moments(first), moments(second), strict=True))
    assert any(np.any(m) for m in moments(second))
    assert float(second.optimizer.learning_rate) == 0.25


def test_a_name_may_have_a_point(tmp_path):
    hyper_model = DnCNN(AUDIO)
    hp = keras_tuner.HyperParameters()
    hp.values = {"filters": 16, "depth": 3}
    (tmp_path / "net_v1.keras").write_bytes(b"another network")
    saving.save_network(tmp_path / "net_v1.5", hyper_model.build(hp), hyper_model)
    names = {f"net_v1.5{suffix}" for suffix in (".keras", ".onnx", ".json")}
    assert {path.name for path in tmp_path.iterdir()} == names | {"net_v1.keras"}
    assert (tmp_path / "net_v1.keras").read_bytes() == b"another network"
    Enhancer.load(tmp_path / "net_v1.5").enhance(np.zeros(8000, np.float32), 8000)
    session = onnxruntime.InferenceSession(tmp_path / "net_v1.5.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    assert facts.items() >= {key: str(value) for key, value in AUDIO.to_dict().items()}.items()
    assert (facts["name"], facts["model"], facts["card"]) == ("net_v1.5", "dncnn", "net_v1.5.json")
    assert facts["licence"]


def test_a_file_without_an_optimizer_or_with_another_leaves_it_as_it_was(tmp_path):
    other = trained("sgd")
    other.save(tmp_path / "other.keras")
    other.save(tmp_path / "without.keras", include_optimizer=False)
    model = trained("adam", seed=1)
    before = moments(model)
    for name in ("other", "without"):
        saved = keras_archive.load(tmp_path / f"{name}.keras", compile=True)
        assert not saving.copy_moments(saved, model)
    assert all(np.array_equal(a, b) for a, b in zip(before, moments(model), strict=True))


class Graph:
    """What stands for a copy of the graph."""


def test_copies_of_a_graph_are_freed_before_the_next_one_is_made():
    usual = dict(passes._optimizers)
    gc.disable()
    try:
        with saving._freeing_graphs_at_once():
            graph = Graph()
            graph.nodes = [graph]  # only a search for circles finds that nothing else refers to it
            copy = weakref.ref(graph)
            del graph
            next(iter(passes._optimizers.values()))()
            assert copy() is None
    finally:
        gc.enable()
    assert passes._optimizers == usual
    assert gc.get_freeze_count() == 0
