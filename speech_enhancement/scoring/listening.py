"""A page to listen to recordings before and after, each with its spectrogram and scores.

`index.html` needs no server and no network: the sounds (16-bit WAV) and the pictures lie beside it.
When a player starts, the one that was playing stops, and the new one continues at the same time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np

from speech_enhancement.corpora.pairs import Pair, Scored
from speech_enhancement.errors import UserError
from speech_enhancement.files import atomic, audio_io
from speech_enhancement.inference import pictures
from speech_enhancement.scoring import figures
from speech_enhancement.scoring.report import cell
from speech_enhancement.scoring.scorer import Row, clean_of, result_of
from speech_enhancement.scoring.summary import COLUMNS, Summary, counted, key_metrics, most_scored
from speech_enhancement.scoring.systems import System
from speech_enhancement.scoring.verdict import verdict
from speech_enhancement.signal import dsp

STYLE = """
:root { color-scheme: light dark; font-family: sans-serif; }
body { max-width: 80rem; margin: auto; padding: 1rem; }
.versions { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; width: 24rem; max-width: 100%; }
img, audio { width: 100%; }
td { padding: 0.2rem 1rem 0.2rem 0; }
tr:first-child { font-weight: bold; }
"""
SCRIPT = """
document.addEventListener("play", ({target}) => {
  for (const other of document.querySelectorAll("audio")) {
    if (other === target || other.paused) continue;
    if (other.closest("section") === target.closest("section")) {
      target.currentTime = other.currentTime;
    }
    other.pause();
  }
}, true);
"""


@dataclasses.dataclass(frozen=True)
class Version:
    """A recording as one system leaves it.

    Args:
        name: of the system.
        sound: float32 (samples,).
        rate: Hz.
        caption: its scores in words.
    """

    name: str
    sound: np.ndarray
    rate: int
    caption: str = ""

    @property
    def seconds(self) -> float:
        """Its duration."""
        return len(self.sound) / self.rate


def write_page(
    folder: Path,
    title: str,
    pairs: Sequence[Scored],
    systems: Sequence[System],
    rows: Sequence[Row],
    summary: Summary,
    count: int,
) -> None:
    """Write the page in place of an earlier one, or remove that.

    Args:
        folder: of the page.
        title: what was scored.
        pairs, systems, rows, summary: what was scored, and what came of it.
        count: recordings to show, spread evenly over those that could be scored.

    Raises:
        UserError: the folder cannot be written.
    """
    _remove_page(folder)
    scores = {(row["file"], row["system"]): row["scores"] for row in rows if "scores" in row}
    scored = [pair for pair in pairs if (pair.name, systems[0].name) in scores]
    if not count or not scored:
        return
    places = np.linspace(0, len(scored) - 1, min(count, len(scored))).round().astype(int)
    sections = []
    for number, place in enumerate(places, 1):
        versions = versions_of(scored[place], systems, scores)
        sections.append(_section(folder, number, scored[place].name, versions))
    page = _page(title, [_means(summary), *sections])
    atomic.write_text(folder / "index.html", page)


def _remove_page(folder: Path) -> None:
    """Remove what an earlier evaluation has written there, and nothing else.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        for path in folder.glob("[0-9][0-9][0-9]_*"):
            if path.suffix in (".wav", ".png"):
                path.unlink()
        (folder / "index.html").unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write {folder}: {error.strerror}") from error


def versions_of(
    pair: Scored,
    systems: Sequence[System],
    scores: dict[tuple[str, str], dict[str, float]],
) -> list[Version]:
    """The clean recording, if there is one, the noisy one, and what each system makes of it.

    All have the rate of the recording, so that their pictures span the same band.

    Args:
        pair, systems: see `write_page`.
        scores: by the names of a recording and of a system; one that has none is left out.
    """
    versions: list[Version] = []
    for system in systems:
        known = scores.get((pair.name, system.name))
        if known is None:
            continue
        try:
            if not versions and isinstance(pair, Pair):
                versions.append(Version("clean", *clean_of(pair)))
            result = result_of(pair, system)
        except UserError:  # a recording that has changed in the meantime
            continue
        rate = versions[0].rate if versions else result.rate
        sound = dsp.resample(result.samples, result.rate, rate)
        versions.append(Version(system.name, sound, rate, caption(known)))
    return versions


def caption(scores: dict[str, float]) -> str:
    """The scores that matter most, and the verdict."""
    names = key_metrics({"": scores})
    values = [f"{COLUMNS[name].label} {scores[name]:.{COLUMNS[name].digits}f}" for name in names]
    return "; ".join(filter(None, [", ".join(values), verdict(scores)]))


def _means(summary: Summary) -> str:
    """The means of all systems, and the verdicts on them."""
    scores = summary["scores"]
    names = key_metrics(scores)
    lines = [["system", *(COLUMNS[name].label for name in names), "verdict"]]
    for system, means in scores.items():
        values = [cell(means.get(name), name, most_scored(scores)) for name in names]
        lines.append([system, *values, "; ".join(filter(None, summary["verdicts"][system]))])
    rows = ("".join(f"<td>{escape(cell)}</td>" for cell in line) for line in lines)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f"<p>Means of {counted(summary)}:</p>\n<table>\n{body}\n</table>"


def _section(folder: Path, number: int, name: str, versions: Sequence[Version]) -> str:
    """Write the sounds and pictures of a recording; gives its part of the page."""
    spectrograms = [pictures.spectrogram_db(each.sound, each.rate) for each in versions]
    highest_db = max(float(spectrogram.max()) for spectrogram in spectrograms)
    loudest = max(float(np.abs(each.sound).max()) for each in versions)
    parts = []
    for version, spectrogram in zip(versions, spectrograms, strict=True):
        stem = f"{number:03d}_{version.name}".replace("/", "_")
        sound = version.sound / max(loudest, 1.0)
        audio_io.save_audio(folder / f"{stem}.wav", sound, version.rate, subtype="PCM_16")
        picture = figures.spectrogram_figure(spectrogram, version.rate, version.seconds, highest_db)
        pictures.save_figure(picture, folder / f"{stem}.png", dpi=80)
        parts.append(_figure(version, quote(stem), name))
    heading, versions_html = escape(name), "".join(parts)
    return f"""
<section>
<h2>{heading}</h2>
<div class="versions">{versions_html}</div>
</section>
"""


def _figure(version: Version, stem: str, recording: str) -> str:
    """One version: picture, player, and words."""
    alt = escape(f"Spectrogram of {recording}, {version.name}", quote=True)
    return f"""
<figure>
<img src="{stem}.png" alt="{alt}" loading="lazy">
<audio controls preload="none" src="{stem}.wav"></audio>
<figcaption><b>{escape(version.name)}</b> {escape(version.caption)}</figcaption>
</figure>
"""


def _page(title: str, sections: Sequence[str]) -> str:
    """The whole page."""
    heading = escape(f"{title}: before and after")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{heading}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{heading}</h1>
{"".join(sections)}
<script>{SCRIPT}</script>
</body>
</html>
"""
