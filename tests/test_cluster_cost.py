"""docs/cluster.md computes what an archive costs from the figures of cluster_cost.json."""

import json

import pytest

from benchmarks import cluster_cost
from benchmarks.page_parts import with_part

HOUR = {"cpu_s_per_hour": 360.0, "bytes_per_hour": 100e6, "result_bytes_per_hour": 50e6}


@pytest.fixture(scope="module")
def measured():
    return json.loads(cluster_cost.RESULTS.read_text())


def test_the_page_shows_what_was_measured(measured):
    page = cluster_cost.PAGE.read_text()
    assert with_part(page, cluster_cost.PART, cluster_cost.cost_sheet(measured)) == page


def test_every_network_and_format_was_measured(measured):
    assert {"machine", "date", "versions", "command", "load_before"} <= set(measured["about"])
    assert set(measured["formats"]) == set(cluster_cost.NETWORKS)
    for by_suffix in measured["formats"].values():
        assert set(by_suffix) == set(cluster_cost.FORMATS)


def test_ten_times_real_time_takes_a_tenth_of_the_hours(monkeypatch):
    monkeypatch.setattr(cluster_cost, "HOURS", 100_000)
    monkeypatch.setattr(cluster_cost, "PROCESSORS", 100)
    for price in ("CORE_HOUR", "GB_MONTH", "SHARED_GB_MONTH"):
        monkeypatch.setattr(cluster_cost, price, 0.1)
    cost = cluster_cost.cost_of(HOUR, factor=1.2)
    assert cost["core_hours"] == pytest.approx(12_000)
    assert cost["machines"] == pytest.approx(1_200)
    assert cost["days"] == pytest.approx(5)
    assert cost["gb"] == pytest.approx(15_000)
    assert cost["file_system"] == pytest.approx(15_000 * 0.1 * 5 / 30)
    assert cost["storage"] == pytest.approx(500)
