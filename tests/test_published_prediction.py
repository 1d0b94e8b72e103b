"""docs/speed.md shows the figures of prediction.json as the publisher writes them."""

from __future__ import annotations

import json

import pytest

from benchmarks import prediction, publish_prediction
from benchmarks.page_parts import with_part

ABOUT = {"machine": "a machine", "date": "2020-01-31", "command": "python measure.py"}
SPEEDS = {
    "1": {"windows_per_s": 10.0, "windows_per_cpu_s": 9.0, "times_real_time": 10.1},
    "2": {"windows_per_s": 16.0, "windows_per_cpu_s": 8.0, "times_real_time": 16.1},
}
FIGURES = {
    "cold": {"net": {"onnx": {"median_s": 1.234}, "keras": {"median_s": 9.0}}},
    "threads": {
        "reference": {"keras": {t: {**s, "windows_per_s": 5.0} for t, s in SPEEDS.items()}},
        "net": {"onnx": SPEEDS},
    },
    "variants": {
        "net": {
            "onnx_float32": {t: {**s, "si_sdr_db": 156.5} for t, s in SPEEDS.items()},
            "onnx_int8": {
                t: {**s, "windows_per_s": 20.0, "si_sdr_db": 22.33} for t, s in SPEEDS.items()
            },
            "onnx_float16": {t: {"failed": "NotImplemented: no Conv"} for t in SPEEDS},
        }
    },
    "long": {
        "network": "net",
        "1_min": {"peak_mib": 250.4, "curve_s_mib": [[0.0, 10.0], [2.0, 250.4]]},
        "3_h": {"peak_mib": 270.6, "curve_s_mib": [[0.0, 10.0], [50.0, 270.6], [100.0, 260.0]]},
    },
}
RESULTS = {part: {"about": ABOUT, "figures": figures} for part, figures in FIGURES.items()}


@pytest.fixture(scope="module")
def measured():
    return json.loads(publish_prediction.RESULTS.read_text())


def test_page_shows_what_was_measured(measured):
    page = publish_prediction.PAGE.read_text()
    figures = publish_prediction.prediction_figures(measured)
    assert with_part(page, "prediction", figures) == page


def test_every_part_says_where_and_how_it_was_measured(measured):
    assert set(measured) <= set(prediction.PARTS)
    for part in measured.values():
        assert {"machine", "date", "versions", "command", "load_before"} <= set(part["about"])


def test_three_hours_take_less_than_500_mb_and_no_more_than_a_minute_does(measured):
    if "long" not in measured:
        pytest.skip("python benchmarks/prediction.py --only long was not run")
    figures = measured["long"]["figures"]
    assert figures["3_h"]["peak_mib"] * 2**20 < 500e6
    assert figures["3_h"]["peak_mib"] < figures["1_min"]["peak_mib"] + 50.0
    assert figures["3_h"]["same_length"]


@pytest.mark.parametrize(
    ("part", "row"),
    [
        ("cold", "| net | 1.23 s | 9.00 s |"),
        ("threads", "| net, ONNX Runtime | 10.0 | 16.0 | 10.1x | 16.1x | 2.0x | 3.2x |"),
        ("variants", "| net | `onnx_int8` | 20.0 | 20.0 | 2.00x | 22.3 |"),
        ("variants", "| net | `onnx_float16` | does not run | - | - | - |"),
        ("variants", "| net | `onnx_float32` | 10.0 | 16.0 | 1.00x | identical |"),
        ("long", "at most 271 MiB, and one of a minute 250 MiB"),
        ("long", "(a machine, 2020-01-31; `python measure.py`)"),
    ],
)
def test_figures_are_on_the_page(part, row):
    assert row in publish_prediction.prediction_figures({part: RESULTS[part]})


def test_parts_that_were_not_measured_are_left_out():
    text = publish_prediction.prediction_figures({"cold": RESULTS["cold"]})
    assert "**Start**" in text
    assert "**Memory**" not in text


def test_the_picture_shows_both_curves_and_the_limit():
    axis = publish_prediction.memory_figure(FIGURES["long"]).axes[0]
    long, short, limit = (line.get_ydata() for line in axis.lines)
    assert list(long) == [10.0, 270.6, 260.0]
    assert list(short) == [10.0, 250.4]
    assert limit[0] * 2**20 == 500e6


def test_publishing_writes_the_page_and_the_picture(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    (tmp_path / "prediction.json").write_text(json.dumps(RESULTS))
    (tmp_path / "docs" / "speed.md").write_text(
        "before\n<!-- prediction:begin -->\nold\n<!-- prediction:end -->\nafter\n"
    )
    monkeypatch.setattr(publish_prediction, "RESULTS", tmp_path / "prediction.json")
    monkeypatch.setattr(publish_prediction, "PAGE", tmp_path / "docs" / "speed.md")
    monkeypatch.setattr(publish_prediction, "PICTURE", tmp_path / "docs" / "memory.png")
    publish_prediction.main()
    text = (tmp_path / "docs" / "speed.md").read_text()
    assert text.startswith("before\n<!-- prediction:begin -->\n**Start**")
    assert "old" not in text
    assert "](memory.png)" in text
    assert (tmp_path / "docs" / "memory.png").read_bytes().startswith(b"\x89PNG")


def test_a_curve_keeps_its_peak_when_it_is_thinned():
    curve = [[float(k), 100.0 + (k == 777)] for k in range(5000)]
    thin = prediction.thinned(curve)
    assert len(thin) <= prediction.CURVE_POINTS
    assert [777.0, 101.0] in thin
