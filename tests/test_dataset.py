"""Stored windows as batches: their shapes, their order, and the weights of their bins."""

import numpy as np
import pytest
import small_dataset

from speech_enhancement.datasets import stored
from speech_enhancement.errors import UsageError
from speech_enhancement.signal.features import Features
from speech_enhancement.training.data import StoredData

FEATURES = Features()


@pytest.fixture
def folder(tmp_path):
    return small_dataset.save(tmp_path / "windows")


def test_batches_cover_the_split_once(folder):
    windows = stored.StoredWindows(folder, "train", FEATURES, batch_size=3, shuffle_seed=1)
    batches = [windows[index] for index in range(len(windows))]
    assert [len(x) for x, _ in batches] == [3, 3, 2]
    assert sorted(windows.order) == list(range(8))


def test_epochs_differ_and_repeat(folder):
    windows = stored.StoredWindows(folder, "train", FEATURES, batch_size=8, shuffle_seed=1)
    first = windows.order
    windows.on_epoch_end()
    assert not np.array_equal(windows.order, first)
    windows.start_epoch(0)
    np.testing.assert_array_equal(windows.order, first)


def test_loud_bins_weigh_more(folder):
    windows = stored.StoredWindows(folder, "train", FEATURES, batch_size=8, loud_weight=0.6)
    _, _, weights = windows[0]
    clean_db = windows.clean[:8]
    assert weights.shape == clean_db.shape
    for decibels, weight in zip(clean_db, weights, strict=True):
        assert weight.flat[decibels.argmax()] == weight.max() > 2.0 * np.median(weight)
    assert weights.min() >= 0.4
    assert weights.max() <= 0.4 + 0.6 * stored.LARGEST_WEIGHT + 1e-6


@pytest.mark.parametrize(
    "features",
    [
        Features(representation="waveform", target="waveform"),
        Features(n_mels=32, sample_rate=8000),
    ],
)
def test_weights_that_do_not_fit_are_refused(features):
    with pytest.raises(UsageError, match="`loud_weight` must be"):
        StoredData(["windows"], loud_weight=0.5).check_loud_weight(features)
