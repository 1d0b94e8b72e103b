"""Scores networks, baselines, peers and folders of results, and writes the report.

They are scored on pairs of a clean and a noisy recording, or on noisy recordings alone, as those of
a device that is tested.
"""

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
from speech_enhancement.corpora.pairs import Pair, Scored
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import atomic, audio_io, provenance
from speech_enhancement.files.paths import PathFields
from speech_enhancement.scoring import cost, dnsmos, held_out, listening, report
from speech_enhancement.scoring import summary as score_summary
from speech_enhancement.scoring import systems as choices
from speech_enhancement.scoring.scorer import Row, Scorer, ScoreStore, score_all
from speech_enhancement.scoring.summary import Summary
from speech_enhancement.scoring.systems import System

WIDE_BAND_RATE, NARROW_BAND_RATE = 16000, 8000
PACKAGES = ("numpy", "scipy", "onnxruntime", "pesq", "pystoi", "speechmos", "soxr")
PAGE_OF_PAIRS = 10
REPORT_DIR = places.WORK / "out/evaluation"


@dataclasses.dataclass(frozen=True)
class PairFolders(PathFields):
    """Recordings to score, and which of them.

    Args:
        clean_dir: folder of clean recordings; none if there are only noisy ones.
        noisy_dir: folder of noisy recordings, of the same names.
        enhanced_dir: folders of results of other programs, named like the noisy recordings.
        every: take every n-th pair.
        limit: take at most so many of those; all by default.
        pairs_csv: table with the columns file, class, snr (dB).
        name_pattern: regular expression that finds (?P<class>) and (?P<snr>) in names.
        name: what the report calls the pairs; the last two parts of `noisy_dir` by default.
    """

    clean_dir: Path | None
    noisy_dir: Path
    enhanced_dir: Sequence[Path] = ()
    every: int = 1
    limit: int | None = None
    pairs_csv: Path | None = None
    name_pattern: str | None = None
    name: str | None = None

    def find(self) -> list[Scored]:
        """Find the pairs, or the recordings, in the folders.

        Raises:
            UserError: the folders do not hold pairs, or none can be read.
            UsageError: there is none to take, or the pattern is none.
        """
        results = list(map(Path, self.enhanced_dir))
        pairs: list[Scored] = []
        if self.clean_dir is None:
            pairs += pairing.find_singles(self.noisy_dir, results)
        else:
            pairs += pairing.find_pairs(self.clean_dir, self.noisy_dir, results)
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
    """What `evaluate` has found.

    Args:
        folder: of the report: `report.md`, `report.json`, `scores.csv`, pictures, the worst
            recordings, and the page `listen/index.html`.
        summary: the content of `report.json`.
        rows: scores of each file and system.
    """

    folder: Path
    summary: Summary
    rows: list[Row]


def evaluate(
    pairs: PairFolders,
    networks: Sequence[str | Path] = (),
    baselines: Sequence[str] = (),
    peers: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
    rate: int | None = None,
    report_dir: Path = REPORT_DIR,
    worst: int = 5,
    measure_cost: bool = True,
    jobs: int = 1,
    listen: int | None = None,
    test_windows: Path | None = None,
) -> Evaluation:
    """Score systems beside the noisy input, and write the report.

    An evaluation of the same code that was interrupted goes on in its folder. A recording that
    cannot be scored is named in the summary; a peer that is not installed is named on stderr.

    Args:
        pairs: what to score on.
        networks: names of shipped networks, or paths of networks' files without suffix.
        baselines: names in `registry.BASELINES`.
        peers: names in `registry.PEERS`.
        metrics: names in `registry.METRICS`; by default all that the rate allows, or that need no
            clean recordings where there are none.
        rate: Hz to denoise and compare pairs at; by default 16000, and 8000 if a recording has
            less. What needs no clean recording is measured at the rate of each recording.
        report_dir: folder of the report.
        worst: recordings that each system does worst, to be drawn and kept.
        measure_cost: also measure speed and memory of each system.
        jobs: processes that score.
        listen: recordings on the page to listen to, spread over all of them; by default 10 pairs,
            or all recordings without clean ones.
        test_windows: folder of the spectrograms of a stored data set with a test split, on which
            the loss of the networks is computed besides.

    Raises:
        UserError: there are no recordings, a network is missing, or the folder cannot be written.
        UsageError: a name is unknown, or two systems have the same.
    """
    found = pairs.find()
    scorer, notes = choose_scorer(found, metrics, rate)
    systems = choose_systems(found[0], networks, baselines, peers)
    stems = [Path(system.source) for system in systems if system.kind == "network"]
    if test_windows and not stems:
        raise UsageError("`test_windows` needs a network whose loss is computed. Received: none")
    losses = held_out.losses_of(stems, test_windows) if test_windows else {}
    folder = make_folder(Path(report_dir))
    rows = score_all(found, systems, scorer, ScoreStore(folder / "rows.jsonl"), jobs)
    check_scored(rows)

    summary = score_summary.summarise(rows)
    summary["losses"] = losses
    has_clean = pairs.clean_dir is not None
    if not has_clean:
        summary["recordings"] = score_summary.by_recording(rows)
    summary["cost"] = costs(systems, scorer.rate or WIDE_BAND_RATE) if measure_cost else {}
    if listen is None:
        listen = PAGE_OF_PAIRS if has_clean else len(found)
    about = {"pairs": pairs.title, "files": len(found), "rate": scorer.rate, "notes": notes}
    summary["about"] = about | provenance.circumstances(PACKAGES)
    write_report(folder, summary, rows, "listen/index.html" if listen else "")
    draw(folder, rows)
    keep_worst(folder, rows, found, systems, scorer, worst)
    listening.write_page(folder / "listen", pairs.title, found, systems, rows, summary, listen)
    return Evaluation(folder, summary, rows)


def choose_scorer(
    found: Sequence[Scored], metrics: Sequence[str] | None, rate: int | None
) -> tuple[Scorer, list[str]]:
    """How recordings are scored, and sentences on what is not.

    Raises:
        UserError: recordings do not fit together.
        UsageError: a metric is unknown, or needs clean recordings where there are none.
    """
    pairs = [pair for pair in found if isinstance(pair, Pair)]
    if pairs:
        rates = pairing.check_headers(pairs)
        rate = rate or (WIDE_BAND_RATE if min(rates) >= WIDE_BAND_RATE else NARROW_BAND_RATE)
        scorer = Scorer(rate, metrics_at(rate, metrics))
        return scorer, _note_on_rates(rates, scorer)
    for name in metrics or []:
        registry.resolve(registry.METRICS, "metrics", name)
        if name not in registry.REFERENCE_FREE:
            allowed = " and ".join(registry.REFERENCE_FREE)
            raise UsageError(
                f"Without clean recordings, `metrics` can be {allowed} only. Received: {name}"
            )
    if metrics or dnsmos.is_installed():
        return Scorer(None, tuple(metrics or registry.REFERENCE_FREE)), []
    note = (
        "DNSMOS was left out, because speechmos is not installed: run "
        f"`{places.install_command('evaluation')}`"
    )
    print(f"skipped: {note}", file=sys.stderr)
    others = tuple(name for name in registry.REFERENCE_FREE if name != "dnsmos")
    return Scorer(None, others), [note]


def _note_on_rates(rates: Sequence[int], scorer: Scorer) -> list[str]:
    """A sentence on recordings with another rate than the comparison, if that matters."""
    n_others = sum(each != scorer.rate for each in rates)
    if not n_others or not set(scorer.metrics) & set(registry.REFERENCE_FREE):
        return []
    return [
        f"recordings with another rate than {scorer.rate} Hz: {n_others}; DNSMOS, the measures of "
        "condition and the verdicts are of each recording at its own rate"
    ]


def check_scored(rows: Sequence[Row]) -> None:
    """Refuse to write a report if no recording could be scored.

    Raises:
        UserError: no recording could be scored.
    """
    if rows and all("error" in row for row in rows):
        files = len({row["file"] for row in rows})
        raise UserError(f"None of the {files} recordings can be scored: {rows[0]['error']}")


def choose_systems(
    pair: Scored, networks: Sequence[str | Path], baselines: Sequence[str], peers: Sequence[str]
) -> list[System]:
    """The noisy input first, then networks, the folders of a pair, baselines and peers.

    Raises:
        UserError: a network is missing.
        UsageError: there is no baseline or peer of a name, or two systems have the same.
    """
    chosen = [choices.NOISY, *map(choices.network_system, networks)]
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


def write_report(folder: Path, summary: Summary, rows: Sequence[Row], page: str) -> None:
    """Write the report for people, for spreadsheets and for programs; see `report.markdown`."""
    texts = {
        "report.md": report.markdown(summary, page),
        "report.json": json.dumps(summary, indent=1, ensure_ascii=False) + "\n",
        "scores.csv": report.scores_csv(rows),
    }
    for name, text in texts.items():
        atomic.write_text(folder / name, text)


def draw(folder: Path, rows: Sequence[Row]) -> None:
    """Draw gains against input SNR and the distributions of the key scores."""
    from speech_enhancement.inference import pictures
    from speech_enhancement.scoring import figures as report_figures

    used = score_summary.key_metrics({str(n): row.get("scores", {}) for n, row in enumerate(rows)})
    if not used:
        return
    figures = {"distribution.png": report_figures.distribution_figure(rows, used)}
    has_snr = any(row.get("snr_db") is not None for row in rows)
    if has_snr and len({row["system"] for row in rows}) > 1:
        figures["improvement.png"] = report_figures.improvement_figure(rows, used)
    for name, figure in figures.items():
        pictures.save_figure(figure, folder / name)


def keep_worst(
    folder: Path,
    rows: Sequence[Row],
    pairs: Sequence[Scored],
    systems: Sequence[System],
    scorer: Scorer,
    count: int,
) -> None:
    """Lay the recordings that each system does worst beside their spectrograms, to listen to."""
    from speech_enhancement.inference import pictures
    from speech_enhancement.scoring import figures as report_figures

    by_name = {pair.name: pair for pair in pairs if isinstance(pair, Pair)}
    for system in systems:
        files = (
            [] if system.kind == "noisy" else score_summary.worst_files(rows, system.name, count)
        )
        if files:  # those of an earlier report may have been others
            shutil.rmtree(folder / "worst" / system.name, ignore_errors=True)
        for place, name in enumerate(files, 1):
            scored = scorer.compared(by_name[name], system)
            sounds = {"clean": scored.clean, "noisy": scored.noisy, "enhanced": scored.estimate}
            stem = folder / "worst" / system.name / f"{place}_{name.replace('/', '_')}"
            figure = report_figures.example_figure(sounds, scored.rate, f"{system.name}: {name}")
            pictures.save_figure(figure, stem.with_name(f"{stem.name}.png"))
            for kind, sound in sounds.items():
                path = stem.with_name(f"{stem.name}_{kind}.wav")
                audio_io.save_audio(path, sound, scored.rate, subtype="FLOAT")
