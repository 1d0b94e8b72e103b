"""Scores networks, baselines, peers and folders of results on pairs, and writes the report."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speech_enhancement import places, registry
from speech_enhancement.corpora import pairs as pairing
from speech_enhancement.corpora.pairs import Pair
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import atomic, audio_io, provenance
from speech_enhancement.files.paths import PathFields
from speech_enhancement.scoring import cost, report
from speech_enhancement.scoring import summary as score_summary
from speech_enhancement.scoring import systems as choices
from speech_enhancement.scoring.scorer import Row, Scorer, ScoreStore, score_all
from speech_enhancement.scoring.summary import KEY_METRICS, Summary
from speech_enhancement.scoring.systems import System

WIDE_BAND_RATE, NARROW_BAND_RATE = 16000, 8000
PACKAGES = ("numpy", "scipy", "onnxruntime", "pesq", "pystoi", "speechmos", "soxr")
REPORT_DIR = places.WORK / "out/evaluation"


@dataclasses.dataclass(frozen=True)
class PairFolders(PathFields):
    """Recordings to score, and which of them.

    Args:
        clean_dir, noisy_dir: folders of recordings of the same names.
        enhanced_dir: folders of results of other programs, named like the noisy recordings.
        every: take every n-th pair.
        limit: take at most so many of those; all by default.
        pairs_csv: table with the columns file, class, snr (dB).
        name_pattern: regular expression that finds (?P<class>) and (?P<snr>) in names.
        name: what the report calls the pairs; the last two parts of `noisy_dir` by default.
    """

    clean_dir: Path
    noisy_dir: Path
    enhanced_dir: Sequence[Path] = ()
    every: int = 1
    limit: int | None = None
    pairs_csv: Path | None = None
    name_pattern: str | None = None
    name: str | None = None

    def find(self) -> list[Pair]:
        """The pairs.

        Raises:
            UserError: the folders do not hold pairs.
            UsageError: there is none to take, or the pattern is none.
        """
        pairs = pairing.find_pairs(
            self.clean_dir, self.noisy_dir, list(map(Path, self.enhanced_dir))
        )
        pairs = pairs[:: self.every][: self.limit]
        if not pairs:
            raise UsageError("`limit` leaves no pair to score. Received: 0")
        if self.pairs_csv:
            pairs = pairing.with_table(pairs, self.pairs_csv)
        if self.name_pattern:
            pairs = pairing.with_pattern(pairs, self.name_pattern)
        return pairs

    @property
    def title(self) -> str:
        """What the report calls the pairs."""
        return self.name or "/".join(self.noisy_dir.resolve().parts[-2:])


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What came of it.

    Args:
        folder: of the report: `report.md`, `report.json`, `scores.csv`, pictures, and the worst
            recordings.
        summary: the content of `report.json`.
        rows: scores of each file and system.
    """

    folder: Path
    summary: Summary
    rows: list[Row]


def evaluate(
    pairs: PairFolders,
    networks: Sequence[Path] = (),
    baselines: Sequence[str] = (),
    peers: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
    rate: int | None = None,
    report_dir: Path = REPORT_DIR,
    worst: int = 5,
    measure_cost: bool = True,
    jobs: int = 1,
) -> Evaluation:
    """Score systems on pairs beside the noisy input, and write the report.

    An evaluation of the same code that was interrupted goes on in its folder. A recording that
    cannot be scored is named in the summary; a peer that is not installed is named on stderr.

    Args:
        pairs: what to score on.
        networks: stems of saved networks: paths of their files without suffix.
        baselines: names in `registry.BASELINES`.
        peers: names in `registry.PEERS`.
        metrics: names in `registry.METRICS`; by default all that the rate allows.
        rate: Hz to denoise and score at; by default 16000, and 8000 if a recording has less.
        report_dir: folder of the report.
        worst: recordings that each system does worst, to be drawn and kept.
        measure_cost: also measure speed and memory of each system.
        jobs: processes that score.

    Raises:
        UserError: there are no pairs, a network is missing, or the folder cannot be written.
        UsageError: a name is unknown, or two systems have the same.
    """
    found = pairs.find()
    lowest = pairing.check_headers(found)
    rate = rate or (WIDE_BAND_RATE if lowest >= WIDE_BAND_RATE else NARROW_BAND_RATE)
    systems = choose_systems(found[0], networks, baselines, peers)
    scorer = Scorer(rate, metrics_at(rate, metrics))
    folder = make_folder(Path(report_dir))
    rows = score_all(found, systems, scorer, ScoreStore(folder / "rows.jsonl"), jobs)

    summary = score_summary.summarise(rows)
    summary["cost"] = costs(systems, rate) if measure_cost else {}
    about = {"pairs": pairs.title, "files": len(found), "rate": rate}
    summary["about"] = about | provenance.circumstances(PACKAGES)
    write_report(folder, summary, rows)
    draw(folder, rows)
    keep_worst(folder, rows, found, systems, scorer, worst)
    return Evaluation(folder, summary, rows)


def choose_systems(
    pair: Pair, networks: Sequence[Path], baselines: Sequence[str], peers: Sequence[str]
) -> list[System]:
    """The noisy input first, then networks, the folders of a pair, baselines and peers.

    Raises:
        UserError: a network is missing.
        UsageError: there is no baseline or peer of a name, or two systems have the same.
    """
    chosen = [choices.NOISY, *(choices.network_system(Path(stem)) for stem in networks)]
    chosen += [System(name, "folder", name) for name in pair.enhanced]
    for name in baselines:
        registry.resolve(registry.BASELINES, "systems", name)
        chosen.append(System(name, "baseline", name))
    chosen += [System(name, "peer", name) for name in peers if is_installed(name)]
    names = [system.name for system in chosen]
    if len(set(names)) < len(names):
        raise UsageError(f"Systems must differ in name. Received: {', '.join(names)}")
    return chosen


def is_installed(peer: str) -> bool:
    """Whether a peer can be used; if it cannot, what it needs is said on stderr.

    Raises:
        UsageError: there is no peer of that name.
    """
    try:
        registry.resolve(registry.PEERS, "peers", peer)()
    except UsageError:
        raise
    except UserError as error:
        print(f"skipped: {error}", file=sys.stderr)
        return False
    return True


def metrics_at(rate: int, names: Sequence[str] | None) -> tuple[str, ...]:
    """The metrics to compute; by default all that a rate allows."""
    for name in names or []:
        registry.resolve(registry.METRICS, "metrics", name)
    narrow = [name for name in registry.METRICS if rate >= WIDE_BAND_RATE or name != "pesq_wb"]
    return tuple(names or narrow)


def make_folder(path: Path) -> Path:
    """The folder of the report.

    Raises:
        UserError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}") from error
    return path


def costs(systems: Sequence[System], rate: int) -> dict[str, Any]:
    """What every system costs, one after the other so that none slows another."""
    return {system.name: dataclasses.asdict(cost.measure(system, rate)) for system in systems}


def write_report(folder: Path, summary: Summary, rows: Sequence[Row]) -> None:
    """Write the report for people, for spreadsheets and for programs."""
    texts = {
        "report.md": report.markdown(summary),
        "report.json": json.dumps(summary, indent=1, ensure_ascii=False) + "\n",
        "scores.csv": report.scores_csv(rows),
    }
    for name, text in texts.items():
        with atomic.replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def draw(folder: Path, rows: Sequence[Row]) -> None:
    """Draw gains against input SNR and the distributions of the key scores."""
    from speech_enhancement.inference import pictures
    from speech_enhancement.scoring import figures as report_figures

    used = [name for name in KEY_METRICS if any(name in row.get("scores", {}) for row in rows)]
    if not used:
        return
    figures = {"distribution.png": report_figures.distribution_figure(rows, used)}
    if len({row["system"] for row in rows}) > 1:
        figures["improvement.png"] = report_figures.improvement_figure(rows, used)
    for name, figure in figures.items():
        pictures.save_figure(figure, folder / name)


def keep_worst(
    folder: Path,
    rows: Sequence[Row],
    pairs: Sequence[Pair],
    systems: Sequence[System],
    scorer: Scorer,
    count: int,
) -> None:
    """Lay the recordings that each system does worst beside their spectrograms, to listen to."""
    from speech_enhancement.inference import pictures
    from speech_enhancement.scoring import figures as report_figures

    by_name = {pair.name: pair for pair in pairs}
    for system in systems:
        files = (
            [] if system.kind == "noisy" else score_summary.worst_files(rows, system.name, count)
        )
        if files:  # those of an earlier report may have been others
            shutil.rmtree(folder / "worst" / system.name, ignore_errors=True)
        for place, name in enumerate(files, 1):
            clean, noisy, estimate, _ = scorer.sounds(by_name[name], system)
            sounds = {"clean": clean, "noisy": noisy, "enhanced": estimate}
            stem = folder / "worst" / system.name / f"{place}_{name.replace('/', '_')}"
            figure = report_figures.example_figure(sounds, scorer.rate, f"{system.name}: {name}")
            pictures.save_figure(figure, stem.with_name(f"{stem.name}.png"))
            for kind, sound in sounds.items():
                path = stem.with_name(f"{stem.name}_{kind}.wav")
                audio_io.save_audio(path, sound, scorer.rate, subtype="FLOAT")
