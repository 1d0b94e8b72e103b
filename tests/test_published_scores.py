"""README.md and docs/export.md show RESULTS.json and EXPORTS.json as the publishers write them."""

from __future__ import annotations

import copy
import json
import re
import statistics

import pytest

from benchmarks import publish_exports, publish_scores
from benchmarks.page_parts import with_part
from speech_enhancement import registry


@pytest.fixture(scope="module")
def results():
    return json.loads(publish_scores.RESULTS.read_text())


def test_readme_shows_the_results(results):
    readme = publish_scores.README.read_text()
    assert with_part(readme, "scores", publish_scores.readme_scores(results)) == readme
    assert with_part(readme, "key_scores", publish_scores.readme_key_scores(results)) == readme


def test_page_of_evaluation_shows_the_results_beside_the_quality_score_of_an_article(results):
    page = (publish_scores.REPOSITORY / "docs" / "evaluation.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in page.splitlines()]
    shown = {row[1]: row[2:] for row in rows if row[0] == "`model_unet`, `lstm`"}
    whole, low = results[0]["scores"], results[0]["by_snr"]["0 to 5 dB"]
    expected = {
        "PESQ-wb, mean of all pairs": (whole, "pesq_wb"),
        "PESQ-wb, mean of those at 0 to 5 dB": (low, "pesq_wb"),
        "DNSMOS OVRL, mean of all pairs": (whole, "dnsmos_ovrl"),
    }
    assert shown == {
        label: [f"{scores[name][metric]['mean']:.2f}" for name in ("noisy", "model_unet", "lstm")]
        for label, (scores, metric) in expected.items()
    }
    best = registry.DEFAULT_NETWORK
    for name in {path.stem for path in publish_scores.WEIGHTS.glob("*.keras")}:
        assert whole[name]["pesq_wb"]["mean"] <= whole[best]["pesq_wb"]["mean"]
        assert max(whole[name][metric]["mean"] for metric in ("pesq_wb", "dnsmos_ovrl")) < 4.1
    sentence = f"the highest PESQ-wb is {whole[best]['pesq_wb']['mean']:.2f}, of `{best}`"
    assert sentence in " ".join(page.split())


def test_a_newcomer_installs_and_denoises_before_the_numbers():
    headings = re.findall(r"^## (.*)$", publish_scores.README.read_text(), re.MULTILINE)
    assert headings[:3] == ["Install", "Denoise", "Scores"]


def test_page_of_training_compares_networks_after_the_same_hours(results):
    equal = json.loads(publish_scores.EQUAL_HOURS.read_text())
    table = publish_scores.equal_hours_table(results[0], equal)
    page = publish_scores.TRAINING_PAGE.read_text()
    assert with_part(page, "equal_hours", table) == page
    hours = [float(line.split("|")[-2]) for line in table.splitlines()[5:]]
    assert max(hours) < 1.03 * statistics.median(hours)  # none has more, one has a little less


def test_a_network_that_is_scored_later_joins_the_others(results):
    name = "resunet"
    before, later = copy.deepcopy(results), copy.deepcopy(results[:1])
    for summary in before:
        for part in (summary["scores"], summary["cost"], *summary["by_snr"].values()):
            part.pop(name, None)
    for part in (later[0]["scores"], later[0]["cost"], *later[0]["by_snr"].values()):
        for other in [*part]:
            if other not in ("noisy", name):
                del part[other]
    joined = publish_scores.with_systems(before, later)
    assert joined[0]["scores"] == results[0]["scores"]
    assert [*joined[0]["scores"]] == [*results[0]["scores"]]
    assert joined[0]["by_snr"] == results[0]["by_snr"]
    assert joined[0]["about"]["notes"][-1].startswith(f"{name}: ")
    assert joined[1] == before[1]


def test_scores_on_other_pairs_do_not_join(results):
    other = copy.deepcopy(results[0])
    other["scores"]["noisy"]["si_sdr"]["mean"] += 0.1
    with pytest.raises(SystemExit, match="must be of the pairs that are published"):
        publish_scores.with_systems(results, [other])


def test_markdown_is_the_report_of_the_results(results):
    text = publish_scores.RESULTS.with_suffix(".md").read_text()
    assert text == publish_scores.results_markdown(results)


def test_every_shipped_network_is_scored_beside_its_hours_of_training_audio(results):
    text = publish_scores.readme_scores(results[:1])
    for path in publish_scores.WEIGHTS.glob("*.json"):
        hours = json.loads(path.read_text())["training"]["hours_heard"]
        row = next(line for line in text.splitlines() if line.startswith(f"| {path.stem} |"))
        assert row.endswith(f"| {hours:.1f} |")


def test_every_run_has_a_noisy_row_and_says_how_it_was_made(results):
    for summary in results:
        assert next(iter(summary["scores"])) == "noisy"
        assert {"machine", "versions", "date", "command"} <= set(summary["about"])


def test_publishing_replaces_what_stands_between_the_marks(tmp_path, monkeypatch, results):
    report = tmp_path / "report"
    report.mkdir()
    command = "python main.py --clean_dir /home/me/clean --every 2"
    summary = results[0] | {"about": results[0]["about"] | {"command": command}}
    (report / "report.json").write_text(json.dumps(summary))
    begin, end = "<!-- scores:begin -->", "<!-- scores:end -->"
    top = "<!-- key_scores:begin -->\nwas there\n<!-- key_scores:end -->\n"
    (tmp_path / "README.md").write_text(f"{top}before\n{begin}\nwas there\n{end}\nafter\n")
    monkeypatch.setattr(publish_scores, "README", tmp_path / "README.md")
    monkeypatch.setattr(publish_scores, "RESULTS", tmp_path / "RESULTS.json")
    publish_scores.main([str(report)])
    text = (tmp_path / "README.md").read_text()
    assert f"before\n{begin}\n" in text
    assert text.endswith(f"{end}\nafter\n")
    assert "was there" not in text
    assert "| **Noisy** |" in text
    shown = "`python main.py --clean_dir clean --every 2`"
    assert shown in (tmp_path / "RESULTS.md").read_text()


def test_page_shows_the_exports():
    results = json.loads(publish_exports.RESULTS.read_text())
    page = publish_exports.PAGE.read_text()
    assert with_part(page, "exports", publish_exports.exports_table(results)) == page


def test_exports_are_of_shipped_networks_beside_keras():
    rows = json.loads(publish_exports.RESULTS.read_text())["rows"]
    kept = {(row["network"], row["format"]) for row in rows if not row["reason"]}
    names = {path.stem for path in (publish_exports.REPOSITORY / "weights").glob("*.keras")}
    assert {name for name, _ in kept} <= names
    for name, kind in kept:
        assert (name, "keras") in kept
        assert kind in ("keras", *registry.EXPORT_FORMATS)


def test_publishing_exports_replaces_what_stands_between_the_marks(tmp_path, monkeypatch):
    results = json.loads(publish_exports.RESULTS.read_text())
    command = "python main.py --mode export --export_dir /home/me/export"
    report = results | {"about": results["about"] | {"command": command}}
    (tmp_path / "export.json").write_text(json.dumps(report))
    (tmp_path / "export.md").write_text("<!-- exports:begin -->\nwas there\n<!-- exports:end -->\n")
    monkeypatch.setattr(publish_exports, "PAGE", tmp_path / "export.md")
    monkeypatch.setattr(publish_exports, "RESULTS", tmp_path / "EXPORTS.json")
    publish_exports.main([str(tmp_path)])
    text = (tmp_path / "export.md").read_text()
    assert "`python main.py --mode export --export_dir export`" in text
    assert "| model_unet | int8 | `model_unet_int8.onnx` |" in text
    assert "was there" not in text
