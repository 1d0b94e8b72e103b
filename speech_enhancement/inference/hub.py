"""Networks in repositories of the Hugging Face Hub, addressed as `hf://user/name[@revision]`.

A repository holds the files of one network, as `--mode publish` lays them out. `huggingface_hub`
downloads them into its cache, where they are found again without a connection.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tqdm import tqdm

from speech_enhancement import places
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import json_files
from speech_enhancement.files.json_files import anything, record, table

SCHEME = "hf://"
REPOSITORY = r"[\w-][\w.-]*/[\w-][\w.-]*"
ADDRESS = re.compile(rf"{SCHEME}({REPOSITORY})(?:@([\w./-]+))?")
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
REFUSALS = (401, 403)
CARD_FIELDS = record({"model": anything, "audio": table(anything), "features": table(anything)})


def is_address(name: str) -> bool:
    """Whether a network is named by its address."""
    return name.startswith(SCHEME)


def fetch(address: str) -> Path:
    """Download a network, or find it in the cache.

    Args:
        address: `hf://user/name`, or `hf://user/name@revision` for a branch, a tag or a commit.

    Returns:
        Path of the network's files without suffix, in the cache.

    Raises:
        UsageError: the address is none.
        UserError: `huggingface_hub` is not installed, there is no such repository or no connection,
            or it does not hold one network of this project.
    """
    match = ADDRESS.fullmatch(address)
    if not match:
        raise UsageError(
            f"A network on the Hugging Face Hub must be named {SCHEME}user/name or "
            f"{SCHEME}user/name@revision. Received: {address}"
        )
    repository, revision = match.groups()
    folder = _download(address, repository, revision, ["*.json"])
    names = [path.stem for path in sorted(folder.glob("*.json")) if _is_card(path)]
    if len(names) != 1:
        found = f"those of {', '.join(names)}" if names else "none"
        raise UserError(f"{address} must hold one network with its card. Received: {found}")
    return _download(address, repository, revision, [f"{names[0]}.*"]) / names[0]


def library() -> Any:
    """`huggingface_hub`, which only networks on the Hub need.

    Raises:
        UserError: it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(
            f"The Hugging Face Hub needs huggingface_hub: run `{places.install_command('share')}`"
        ) from error
    return huggingface_hub


def reason(error: Exception) -> str:
    """What went wrong, in a few words.

    Args:
        error: raised by `huggingface_hub`.
    """
    from huggingface_hub import errors

    reasons = {
        errors.GatedRepoError: "access to it must be requested there",
        errors.RepositoryNotFoundError: "there is no such repository, or it is private",
        errors.RevisionNotFoundError: "there is no such revision",
        errors.LocalEntryNotFoundError: "it is not in the cache, and the Hub cannot be reached",
        errors.LocalTokenNotFoundError: LOG_IN,
    }
    for kind, words in reasons.items():
        if isinstance(error, kind):
            return words
    if getattr(getattr(error, "response", None), "status_code", None) in REFUSALS:
        return f"the Hub does not accept the token; {LOG_IN}"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


def _download(address: str, repository: str, revision: str | None, patterns: list[str]) -> Path:
    """The folder of a revision in the cache, with the files of some patterns."""
    download = library().snapshot_download
    arguments = {"revision": revision, "allow_patterns": patterns, "tqdm_class": _NoBar}
    try:
        return Path(download(repository, **arguments))
    except Exception as error:  # the library's errors, and those of what it connects with
        raise UserError(f"Cannot load {address}: {reason(error)}") from error


class _NoBar(tqdm):
    """A bar of progress that is not shown: the files are small."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{**settings, "disable": True})


def _is_card(path: Path) -> bool:
    """Whether a file is the card of a network."""
    try:
        json_files.load(path, "a model card", CARD_FIELDS)
    except (OSError, UserError):
        return False
    return True
