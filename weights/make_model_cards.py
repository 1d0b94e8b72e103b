"""Write NAME.md, for people, of each NAME.json and of the scores in benchmarks/RESULTS.json.

python -m weights.make_model_cards
"""

from __future__ import annotations

import ast
import json
import re
import zipfile
from pathlib import Path
from typing import Any

from speech_enhancement import registry
from speech_enhancement.files.atomic import write_text
from speech_enhancement.inference import pictures
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.scoring import report
from speech_enhancement.scoring.summary import KEY_METRICS
from speech_enhancement.signal.features import MAGNITUDES

WEIGHTS = Path(__file__).resolve().parent
REPOSITORY = WEIGHTS.parent
RESULTS = REPOSITORY / "benchmarks" / "RESULTS.json"

INTENDED_USE = (
    "It removes background noise from recordings of one person speaking, such as interviews, "
    "lectures, calls and films, for people to listen to. It can also be the starting point of "
    "another training (`--no-training_from_scratch`), and a baseline for comparisons."
)
NOT_INTENDED = (
    "It is not intended for evidence, for medical devices, or for decisions about the person who "
    "speaks. It may remove parts of the voice, and the remaining sound does not prove that "
    "something was or was not said."
)
LIMITS = (
    "It treats everything that is not speech as noise, so that music and singing are damaged.",
    "It keeps voices in the background, because they are speech.",
    "It keeps most of a room's reverberation.",
    "The lower the signal-to-noise ratio, the more of the voice is removed with the noise; "
    "`--strength` and `--max_attenuation_db` limit this.",
)
SCORES_NOTE = (
    "The network was not trained with the speakers or the noises of this test, whereas most "
    "published networks were trained with the rest of this corpus. Both speakers of the test read "
    "English. The quality with other languages, voices and rooms was not measured."
)
NON_COMMERCIAL = (
    "The clips of ESC-50 that were used are CC0 or CC BY, but the compilation is CC BY-NC. If you "
    "consider that this licence extends to the weights, use them for non-commercial purposes only, "
    "or train without ESC-50."
)
# What a page calls figures of a card, if not by their names there.
FIGURES = {"hours_heard": "hours of training audio", "best val_loss": "best validation loss"}


def main() -> None:
    """Write the pages of the shipped networks."""
    write_pages(WEIGHTS, json.loads(RESULTS.read_text()))


def write_pages(folder: Path, results: list[Any]) -> None:
    """Write the page of every network in a folder, and the picture of its learning.

    Args:
        folder: of the networks and their cards.
        results: summaries of evaluations, as in RESULTS.json.
    """
    for path in sorted(folder.glob("*.json")):
        card = ModelCard.load(path)
        write_text(path.with_suffix(".md"), model_card(path.stem, card, results, folder))
        if "curve" in card.training:
            picture = pictures.plot_losses(card.training["curve"])
            pictures.save_figure(picture, path.with_suffix(".png"))


def model_card(
    name: str, card: ModelCard, results: list[dict[str, Any]], folder: Path = WEIGHTS
) -> str:
    """The page of a network.

    Args:
        name: of its files.
        card: of the network.
        results: summaries of evaluations, as in RESULTS.json.
        folder: where its files lie.
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
        "Files": files(name, card, folder),
    }
    parts = [f"# {name}", summary(card)]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    return "\n\n".join(parts) + "\n"


def summary(card: ModelCard) -> str:
    """What it is, in a sentence."""
    audio = card.audio
    if card.streaming:
        manner = "frame by frame, as it arrives"
    elif card.any_length:
        manner = "in whole recordings, forwards and backwards"
    else:
        manner = f"in windows of {audio.frame_length / audio.sample_rate:.3g} s"
    return (
        f"This network removes noise from speech. It is of the kind `{card.model}`, has "
        f"{card.parameters:,} parameters, and processes sound at {audio.sample_rate} Hz {manner}."
    )


def use(name: str, card: ModelCard) -> str:
    """Commands that run it."""
    lines = [f"python main.py my_recording.wav --name_model {name}"]
    if card.streaming:
        lines.append(f"python main.py --mode streaming --name_model {name}")
    commands = "\n".join(lines)
    return f"```sh\n{commands}\n```"


def limits(card: ModelCard) -> list[str]:
    """What follows from its input and output."""
    audio = card.audio
    found = [
        f"Its input ends at {audio.sample_rate // 2} Hz. Higher frequencies of a recording are "
        "kept; their noise is reduced by a Wiener filter that follows the speech that the network "
        "finds."
    ]
    if card.streaming:
        held_ms = 1000 * audio.n_fft / audio.sample_rate
        found.append(f"It is causal, and delays sound at its own rate by {held_ms:.0f} ms.")
    elif card.any_length:
        found.append("It needs the whole recording, so that it cannot denoise live sound.")
    else:
        found.append(
            "It needs a whole window, so that it delays live sound by the length of a window."
        )
    if card.features.representation in MAGNITUDES:
        found.append("It changes magnitudes only, and keeps the phase of the noisy recording.")
    if card.level_dbfs is not None:
        found.append(
            f"It was trained with voices at {card.level_dbfs:g} dBFS. Recordings are brought to "
            "this level and back, but the level of live sound is not known in advance: give it "
            "with the option `--level_dbfs` of `--mode streaming`."
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
    losses = {f"best {loss}": f"{value:.5g}" for loss, value in facts["losses"].items()}
    plain = {k: v for k, v in facts.items() if isinstance(v, str | int | float) and k != "data"}
    rows = [
        [FIGURES.get(fact, fact.replace("_", " ")), str(value)]
        for fact, value in {**plain, **losses}.items()
    ]
    figures = report.table(["figure", "value"], rows)
    return f"{figures}\n\n![Loss over the epochs]({name}.png)" if "curve" in facts else figures


def tried(facts: dict[str, Any]) -> str:
    """What was changed on the way here, and what each change brought."""
    rows = facts.get("tried")
    return report.table(["change", "effect"], rows) if rows else ""


def data(facts: dict[str, Any]) -> str:
    """What it was trained with, and what may be done with it."""
    sources = str(facts.get("data", ""))
    if not sources:
        return ""
    kinds = [f"{kind[:1].upper()}{kind[1:]}." for kind in re.split("; (?=noises)", sources)]
    licence = (
        "The weights have the licence of the repository, which does not contain these recordings."
    )
    parts = [listed(kinds), licence]
    if "NC" in sources:
        parts.append(NON_COMMERCIAL)
    return "\n\n".join(parts)


def network(card: ModelCard) -> str:
    """What its code says of itself, and the values that it was built with."""
    module = registry.MODELS[card.model].split(":")[0]
    path = REPOSITORY / f"speech_enhancement{module.replace('.', '/')}.py"
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    values = ", ".join(f"{name} {value}" for name, value in card.hyperparameters.items())
    return f"{docstring}\n\nHyper-parameters: {values}." if values else str(docstring)


def files(name: str, card: ModelCard, folder: Path) -> str:
    """Its files, their digests, and how Keras opens its own without this project's commands."""
    rows = [[f"`{name}{suffix}`", f"`{digest}`"] for suffix, digest in card.sha256.items()]
    table = report.table(["file", "SHA-256"], rows)
    if ".keras" not in card.sha256:
        return table
    load = f'`keras.saving.load_model("weights/{name}.keras")`'
    if not has_own_layers(folder / f"{name}.keras"):
        return f"{table}\n\nKeras alone opens the network: {load}."
    module = registry.MODELS[card.model].split(":")[0]
    layers = f"`import speech_enhancement{module}`"
    return (
        f"{table}\n\nThe network has layers of this project: {layers} makes them known to {load}."
    )


def has_own_layers(path: Path) -> bool:
    """Whether a `.keras` file needs more than Keras to be opened."""
    with zipfile.ZipFile(path) as archive:
        return b'"speech_enhancement>' in archive.read("config.json")


def listed(items: list[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {item}" for item in items)


if __name__ == "__main__":
    main()
