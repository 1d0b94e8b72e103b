"""Publishes a network: a folder as the Hugging Face Hub shows it, and its upload.

| file | what it is |
|---|---|
| `README.md` | the model card, with the block of metadata that the Hub reads |
| `NAME.json` | the card with the geometry, the training and the digests of the weights |
| `NAME.onnx`, `NAME.keras` | the weights, as far as there are such |
| `LICENSE` | the text of the licence |

`inference.hub` loads a network from there.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from speech_enhancement import places
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import atomic, json_files
from speech_enhancement.files.json_files import number, optional, record, table, text, whole
from speech_enhancement.inference import hub, network_files
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.scoring.summary import COLUMNS

FOLDER = places.WORK / "out/publish"
MIT = "mit"
TASK = "audio-to-audio"
TAGS = ("speech-enhancement", "noise-suppression", "denoising", "audio", "onnx")
SHOWN = ("pesq_wb", "pesq_nb", "stoi", "si_sdr", "dnsmos_ovrl")
REPORT = record(
    {
        "about": record({"pairs": text(), "rate": optional(whole(1))}),
        "scores": table(table(record({"mean": number()}))),
    }
)


@dataclasses.dataclass(frozen=True)
class Licence:
    """The licence of a network.

    Args:
        name: as the Hub calls it, such as `mit` or `cc-by-nc-4.0`.
        file: its text; that of this software by default, if it is `mit` and there is a checkout.
    """

    name: str = MIT
    file: Path | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9.-]+", self.name):
            raise UsageError(
                "`license` must be a name of the Hugging Face Hub, such as mit or cc-by-4.0. "
                f"Received: {self.name}"
            )

    def text(self) -> str | None:
        """Its text, if there is one.

        Raises:
            UserError: the file cannot be read.
        """
        is_own = self.file is None and self.name == MIT and places.LICENSE.is_file()
        path = places.LICENSE if is_own else self.file
        if path is None:
            return None
        try:
            return Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"Cannot read the licence {path}: {error}") from error


@dataclasses.dataclass(frozen=True)
class Published:
    """What came of it.

    Args:
        folder: of the files.
        files: their names.
        url: of the repository, if it was uploaded.
        address: for `Enhancer.load` and `--name_model`, likewise.
    """

    folder: Path
    files: list[str]
    url: str = ""
    address: str = ""


def publish_network(
    network: Path,
    folder: Path | None = None,
    licence: Licence | None = None,
    report: Path | None = None,
    repo: str | None = None,
    private: bool = False,
) -> Published:
    """Write the folder of a network, and upload it.

    Args:
        network: path of the network's files without suffix.
        folder: where to write; `out/publish/NAME` by default. Other files there stay, and those of
            the network are replaced if it was published there before.
        licence: of the network; that of this software by default.
        report: `report.json` of an evaluation, whose scores of this network are shown.
        repo: repository `user/name` of the Hugging Face Hub to upload to.
        private: whether that becomes private if it is made.

    Raises:
        UsageError: `repo` or the licence is no such name, or `folder` is that of something else.
        UserError: the network is missing or damaged, a file cannot be read or written, or the
            upload fails.
    """
    if repo is not None and not re.fullmatch(hub.REPOSITORY, repo):
        raise UsageError(f"`repo` must be user/name. Received: {repo}")
    licence = licence or Licence()
    stem = network_files.stem_of(Path(network))
    card = ModelCard.beside(stem)
    paths = weights_of(stem, card)
    texts = {"README.md": model_card(stem, card, licence, scores_of(stem.name, card, report), repo)}
    if (terms := licence.text()) is not None:
        texts["LICENSE"] = terms
    folder = Path(folder or FOLDER / stem.name)
    card_path = network_files.file_of(stem, network_files.CARD)
    _refuse_folder_of_others(folder, card_path, texts)
    paths.append(card_path)
    for path in paths:
        with atomic.replacing(folder / path.name) as temporary:
            shutil.copyfile(path, temporary)
    for name, content in texts.items():
        atomic.write_text(folder / name, content)
    files = sorted([*texts, *(path.name for path in paths)])
    if repo is None:
        return Published(folder, files)
    return Published(folder, files, upload(folder, files, repo, private), f"{hub.SCHEME}{repo}")


def _refuse_folder_of_others(folder: Path, card_path: Path, names: Iterable[str]) -> None:
    """Keep the texts of another project, or the folder of the networks, from being written into.

    Raises:
        UsageError: `folder` is one of them.
    """
    if folder.resolve() == card_path.parent.resolve():
        raise UsageError(f"`publish_dir` must not be the folder of the network. Received: {folder}")
    there = [folder / name for name in names if (folder / name).exists()]
    if there and not (folder / card_path.name).exists():
        raise UsageError(
            f"`publish_dir` must be a new folder or that of this network, and there is {there[0]}. "
            f"Received: {folder}"
        )


def weights_of(stem: Path, card: ModelCard) -> list[Path]:
    """The weights that there are, each as the card describes it.

    Raises:
        UserError: there are none, or they belong to another card.
    """
    suffixes = (network_files.KERAS, network_files.ONNX)
    paths = [network_files.file_of(stem, suffix) for suffix in suffixes]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise UserError(f"No network at {' or '.join(map(str, paths))}")
    for path in found:
        card.check_file(path)
    return found


def upload(folder: Path, files: Sequence[str], repo: str, private: bool) -> str:
    """Make a repository if there is none, and put files there; gives its address on the web.

    Raises:
        UserError: `huggingface_hub` is not installed, or the Hub refuses.
    """
    api = hub.library().HfApi()
    try:
        url = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=list(files),
            commit_message="Publish the network",
        )
    except Exception as error:  # the library's errors, and those of what it connects with
        raise UserError(f"Cannot upload to {repo}: {hub.reason(error)}") from error
    return str(url)


def scores_of(name: str, card: ModelCard, report: Path | None) -> list[tuple[str, str, float]]:
    """Scores to show: the name of a data set, the metric's label, and the mean.

    Args:
        name: of the network, which is its row in reports.
        card: its card, with scores that training has left there.
        report: `report.json` of an evaluation, or a list of such.

    Raises:
        UserError: the report cannot be read, or has no row of this network.
    """
    found = [
        ("held-out pairs", COLUMNS[metric].label, float(value))
        for metric, value in card.scores.items()
        if metric in COLUMNS and isinstance(value, int | float)
    ]
    if report is None:
        return found
    for summary in _summaries(report):
        about = summary["about"]
        data = f"{about['pairs']}, {about['rate']} Hz" if about["rate"] else about["pairs"]
        for metric, mean in summary["scores"].get(name, {}).items():
            if metric in SHOWN:
                found.append((data, COLUMNS[metric].label, mean["mean"]))
    if not found:
        raise UserError(f"{report} has no scores of {name}")
    return found


def _summaries(path: Path) -> list[dict[str, Any]]:
    """The summaries of a report, or of several in one file."""

    def check(value: Any, place: str) -> None:
        for each in value if isinstance(value, list) else [value]:
            REPORT(each, place)

    try:
        content = json_files.load(path, "a report of --mode evaluation", check)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}") from error
    return content if isinstance(content, list) else [content]


def model_card(
    stem: Path,
    card: ModelCard,
    licence: Licence,
    scores: Sequence[tuple[str, str, float]],
    repo: str | None,
) -> str:
    """README.md: metadata, what the network is, how it is used, and its page, if it has one.

    Args:
        stem: path of its files without suffix, and of its page `NAME.md`.
        card: its card.
        licence: its licence.
        scores: see `scores_of`.
        repo: where it is uploaded to, if known.
    """
    address = f"{hub.SCHEME}{repo or f'USER/{stem.name}'}"
    block = "\n".join(
        f"{key}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in metadata(stem.name, licence, scores).items()
    )
    use = f"""```python
from speech_enhancement import Enhancer

clean = Enhancer.load("{address}").enhance(samples, rate)
```

```sh
{places.COMMAND} recording.wav --name_model {address}
```"""
    return f"---\n{block}\n---\n\n{_page(stem, card)}\n\n## Load it from the Hub\n\n{use}\n"


def metadata(
    name: str, licence: Licence, scores: Sequence[tuple[str, str, float]]
) -> dict[str, Any]:
    """The block of metadata of the Hub; its values are JSON, which YAML contains."""
    block: dict[str, Any] = {
        "license": licence.name,
        "library_name": "keras",
        "pipeline_tag": TASK,
        "tags": list(TAGS),
    }
    if not scores:
        return block
    results = [
        {
            "task": {"type": TASK, "name": "Speech enhancement"},
            "dataset": {"type": _identifier(data), "name": data},
            "metrics": [
                {"type": _identifier(label), "name": label, "value": round(value, 4)}
                for other, label, value in scores
                if other == data
            ],
        }
        for data in dict.fromkeys(data for data, _, _ in scores)
    ]
    block["metrics"] = sorted({_identifier(label) for _, label, _ in scores})
    block["model-index"] = [{"name": name, "results": results}]
    return block


def _identifier(label: str) -> str:
    """A label as an identifier: `PESQ-wb` as `pesq-wb`, `SI-SDR (dB)` as `si-sdr`."""
    return re.sub(r"[^a-z0-9]+", "-", label.partition(" (")[0].lower()).strip("-")


def _page(stem: Path, card: ModelCard) -> str:
    """The page beside a network, without its pictures; a short one where there is none."""
    path = stem.with_name(f"{stem.name}.md")
    try:
        page = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return (
            f"# {stem.name}\n\nThis network removes noise from speech. It is a `{card.model}` with "
            f"{card.parameters:,} parameters, and processes sound at {card.audio.sample_rate} Hz."
        )
    return re.sub(r"\n!\[[^\n]*\n", "\n", page).strip()
