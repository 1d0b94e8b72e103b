"""The pictures of the demonstration, and the script that makes them."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from demo_data import make_demonstration
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.signal import dsp

ANIMATIONS = ("spectrograms.gif", "waveforms.gif")


@pytest.fixture(scope="module")
def examples():
    """An example of which every version is another noise."""
    rng = np.random.default_rng(0)
    names = ("noisy", *make_demonstration.NETWORKS, "clean")
    versions = {name: 0.1 * rng.standard_normal(4000).astype(np.float32) for name in names}
    return [make_demonstration.Example("alarm", 8000, versions)] * 4


@pytest.mark.parametrize("name", ANIMATIONS)
def test_an_animation_is_small_moves_and_is_repeated(name):
    path = make_demonstration.PICTURES / name
    assert path.stat().st_size < 3e6
    with Image.open(path) as picture:
        assert picture.info["loop"] == 0
        assert picture.n_frames == make_demonstration.SWEEP_FRAMES + 2
        shown = []
        for number in (0, picture.n_frames // 2, picture.n_frames - 1):
            picture.seek(number)
            shown.append(np.asarray(picture.convert("RGB")))
    assert not np.array_equal(shown[0], shown[1])
    assert not np.array_equal(shown[1], shown[2])


@pytest.mark.parametrize("panel", ["spectrogram_panel", "waveform_panel"])
def test_an_animation_begins_noisy_and_ends_denoised(panel, examples):
    draw = getattr(make_demonstration, panel)
    before = make_demonstration.state_figure(examples, draw, "", "noisy", "noisy")
    after = make_demonstration.state_figure(
        examples, draw, "", make_demonstration.NETWORK, "denoised"
    )
    frames = list(make_demonstration.sweep(before, after))
    for figure, frame in ((before, frames[0]), (after, frames[-1])):
        pixels, boxes = make_demonstration.rendered(figure)
        for box in boxes:
            np.testing.assert_array_equal(frame[box], pixels[box])


def test_the_flow_shows_what_prediction_does():
    flow = make_demonstration.prediction_flow()
    audio = Enhancer.load(make_demonstration.FLOW_NETWORK).card.audio
    floor_db = flow.clean_db.min()
    difference_db = np.maximum(flow.noisy_db - np.maximum(flow.noise_db, 0.0), floor_db)
    np.testing.assert_allclose(flow.clean_db, difference_db, atol=1e-2)
    spectrogram = dsp.db_to_amplitude(flow.clean_db) * np.exp(1j * flow.phase)
    again = dsp.istft(spectrogram[np.newaxis].astype(np.complex64), audio, len(flow.noisy))[0]
    np.testing.assert_allclose(flow.denoised, again, atol=1e-3)
    assert np.square(flow.denoised).sum() < 0.9 * np.square(flow.noisy).sum()


def test_every_picture_can_be_drawn(examples, tmp_path):
    for panel in (make_demonstration.spectrogram_panel, make_demonstration.waveform_panel):
        assert isinstance(make_demonstration.examples_figure(examples, panel, ""), Figure)
    classes = make_demonstration.classes_figure()
    titles = {axis.get_title() for axis in classes.axes}
    folders = (make_demonstration.HERE / "noises").iterdir()
    assert {make_demonstration.title_of(folder.name) for folder in folders} <= titles
    assert make_demonstration.flow_figure(make_demonstration.prediction_flow()).texts
