"""Write NAME.md, for people, of each NAME.json and of the scores in benchmarks/RESULTS.json.

python -m weights.make_model_cards
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

from speech_enhancement import registry
from speech_enhancement.files.atomic import replacing
from speech_enhancement.inference import pictures
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.scoring import report
from speech_enhancement.scoring.summary import KEY_METRICS
from speech_enhancement.signal.features import MAGNITUDES

WEIGHTS = Path(__file__).resolve().parent
REPOSITORY = WEIGHTS.parent
RESULTS = REPOSITORY / "benchmarks" / "RESULTS.json"

INTENDED_USE = (
    "Removing background noise from recordings of one person speaking, for listening: interviews, "
    "lectures, calls, films. It is also a starting point to train from "
    "(`--no-training_from_scratch`), and a baseline to compare with."
)
NOT_INTENDED = (
    "It is not made for evidence, for medical devices, or for deciding anything about the person "
    "who speaks: it may take parts of the voice for noise, and sound that it leaves behind is not "
    "proof that something was or was not said."
)
LIMITS = (
    "All that is not speech is noise to it: music and singing suffer.",
    "Voices in the background are speech, and stay.",
    "Echo of the room mostly stays.",
    "The lower the voice lies under the noise, the more of the voice goes with it; `--strength` "
    "and `--max_attenuation_db` hold the network back.",
)
SCORES_NOTE = (
    "It has not heard the speakers or the noises of this test, unlike published networks, which "
    "train on that corpus. Both of its speakers read English; how it does on other languages, "
    "voices and rooms is not measured."
)
NON_COMMERCIAL = (
    "Clips of ESC-50 are each CC0 or CC BY, but the compilation is CC BY-NC: whoever takes that to "
    "reach as far as these weights uses them for non-commercial ends only, or trains without it."
)


def main() -> None:
    """Write the page of every network, and the picture of its learning."""
    results = json.loads(RESULTS.read_text())
    for path in sorted(WEIGHTS.glob("*.json")):
        card = ModelCard.load(path)
        with replacing(path.with_suffix(".md")) as temporary:
            temporary.write_text(model_card(path.stem, card, results))
        if "curve" in card.training:
            picture = pictures.plot_losses(card.training["curve"])
            pictures.save_figure(picture, path.with_suffix(".png"))


def model_card(name: str, card: ModelCard, results: list[dict[str, Any]]) -> str:
    """The page of a network.

    Args:
        name: of its files.
        card: of the network.
        results: summaries of evaluations, as in RESULTS.json.
    """
    sections = {
        "Use": use(name, card),
        "Intended use": f"{INTENDED_USE}\n\n{NOT_INTENDED}",
        "Limits": listed([*limits(card), *LIMITS]),
        "Scores": scores(name, results),
        "Training": training(name, card.training),
        "What was tried": tried(card.training),
        "Data and its licence": data(card.training),
        "Network": network(card),
        "Files": files(name, card),
    }
    parts = [f"# {name}", summary(card)]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    return "\n\n".join(parts) + "\n"


def summary(card: ModelCard) -> str:
    """What it is, in a sentence."""
    audio = card.audio
    if card.streaming:
        hears = "frame by frame, as sound arrives"
    elif card.any_length:
        hears = "in whole recordings, forwards and backwards"
    else:
        hears = f"in windows of {audio.frame_length / audio.sample_rate:.3g} s"
    return (
        f"Removes noise from speech. A `{card.model}` of {card.parameters:,} parameters that hears "
        f"{audio.sample_rate} Hz {hears}."
    )


def use(name: str, card: ModelCard) -> str:
    """Commands that run it."""
    lines = [f"python main.py my_recording.wav --name_model {name}"]
    if card.streaming:
        lines.append(f"python main.py --mode streaming --name_model {name}")
    commands = "\n".join(lines)
    return f"```sh\n{commands}\n```"


def limits(card: ModelCard) -> list[str]:
    """What follows from how it hears."""
    audio = card.audio
    found = [
        f"It hears up to {audio.sample_rate // 2} Hz. What a recording has above that is kept, and "
        "its noise lowered by a Wiener filter that takes from the network where speech is."
    ]
    if card.streaming:
        held_ms = 1000 * audio.n_fft / audio.sample_rate
        found.append(f"Causal: at its own rate it holds sound for {held_ms:.0f} ms.")
    elif card.any_length:
        found.append("It needs the whole recording, and cannot denoise live sound.")
    else:
        found.append("It needs a whole window before it answers; live sound is late by as much.")
    if card.features.representation in MAGNITUDES:
        found.append("It changes magnitudes only: the phase stays that of the noisy recording.")
    if card.level_dbfs is not None:
        found.append(
            f"It knows voices at {card.level_dbfs:g} dBFS; recordings are brought there and back, "
            "which live sound cannot be (`--level_dbfs` of `--mode streaming` tells the level)."
        )
    return [*found, *card.training.get("limits", [])]


def scores(name: str, results: list[dict[str, Any]]) -> str:
    """Its scores beside those of the noisy recordings, a table for each evaluation."""
    tables = []
    for result in results:
        rows = {system: result["scores"].get(system) for system in ("noisy", name)}
        if rows[name] is None:
            continue
        facts = result["about"]
        metrics = [m for m in KEY_METRICS if m in rows[name] or m in rows["noisy"]]
        heading = f"{facts['pairs']}, {facts['files']} pairs at {facts['rate']} Hz:"
        tables.append(f"{heading}\n\n{report.score_table(rows, metrics)}")
    if not tables:
        return "None published yet: `make benchmark` measures them."
    return "\n\n".join([*tables, SCORES_NOTE if "VoiceBank" in "".join(tables) else ""]).strip()


def training(name: str, facts: dict[str, Any]) -> str:
    """How it was trained: every figure of the card, and the losses of its epochs."""
    losses = {f"{loss} at its best": f"{value:.5g}" for loss, value in facts["losses"].items()}
    plain = {k: v for k, v in facts.items() if isinstance(v, str | int | float) and k != "data"}
    rows = [[fact.replace("_", " "), str(value)] for fact, value in {**plain, **losses}.items()]
    figures = report.table(["figure", "value"], rows)
    return f"{figures}\n\n![Loss over the epochs]({name}.png)" if "curve" in facts else figures


def tried(facts: dict[str, Any]) -> str:
    """What was changed on the way here, and what each change brought."""
    rows = facts.get("tried")
    return report.table(["change", "effect"], rows) if rows else ""


def data(facts: dict[str, Any]) -> str:
    """What it has heard, and what may be done with it."""
    heard = str(facts.get("data", ""))
    if not heard:
        return ""
    kinds = [f"{kind[:1].upper()}{kind[1:]}." for kind in re.split("; (?=noises)", heard)]
    licence = "The weights are under the licence of the repository; the recordings are not in it."
    parts = [listed(kinds), licence]
    if "NC" in heard:
        parts.append(NON_COMMERCIAL)
    return "\n\n".join(parts)


def network(card: ModelCard) -> str:
    """What its code says of itself, and the values that it was built with."""
    module = registry.MODELS[card.model].split(":")[0]
    path = REPOSITORY / f"speech_enhancement{module.replace('.', '/')}.py"
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    values = ", ".join(f"{name} {value}" for name, value in card.hyperparameters.items())
    return f"{docstring}\n\nHyper-parameters: {values}." if values else str(docstring)


def files(name: str, card: ModelCard) -> str:
    """Its files and their digests."""
    rows = [[f"`{name}{suffix}`", f"`{digest}`"] for suffix, digest in card.sha256.items()]
    return report.table(["file", "SHA-256"], rows)


def listed(items: list[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {item}" for item in items)


if __name__ == "__main__":
    main()
