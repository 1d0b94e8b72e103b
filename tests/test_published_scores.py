"""The README and RESULTS.md show the scores of RESULTS.json, and nothing else does the typing."""

from __future__ import annotations

import json

import pytest

from benchmarks import publish_scores


@pytest.fixture(scope="module")
def results():
    return json.loads(publish_scores.RESULTS.read_text())


def test_readme_shows_the_results(results):
    readme = publish_scores.README.read_text()
    assert publish_scores.with_scores(readme, publish_scores.readme_scores(results)) == readme


def test_markdown_is_the_report_of_the_results(results):
    text = publish_scores.RESULTS.with_suffix(".md").read_text()
    assert text == publish_scores.results_markdown(results)


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
    begin, end = publish_scores.MARKS
    (tmp_path / "README.md").write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    monkeypatch.setattr(publish_scores, "README", tmp_path / "README.md")
    monkeypatch.setattr(publish_scores, "RESULTS", tmp_path / "RESULTS.json")
    publish_scores.main([str(report)])
    text = (tmp_path / "README.md").read_text()
    assert text.startswith(f"before\n{begin}\n")
    assert text.endswith(f"{end}\nafter\n")
    assert "old" not in text
    assert "| **Noisy** |" in text
    shown = "`python main.py --clean_dir clean --every 2`"
    assert shown in (tmp_path / "RESULTS.md").read_text()
