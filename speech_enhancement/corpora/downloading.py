"""Downloads public corpora, verifies them and unpacks them.

>>> from speech_enhancement import download_corpus
>>> download_corpus("esc50").options
{'noise_dir': PosixPath('data/corpora/esc50')}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from speech_enhancement.corpora.public import CORPORA_DIR, PUBLIC_CORPORA, Archive
from speech_enhancement.errors import UsageError
from speech_enhancement.files import archives, downloads


@dataclasses.dataclass(frozen=True)
class DownloadedCorpus:
    """A public corpus on this machine.

    Args:
        licence: what it may be used for.
        options: its folders by the names of the options of data_creation that they are for.
        existing: those of its folders that were there before, and were not downloaded.
    """

    licence: str
    options: dict[str, Path]
    existing: list[Path]


def check_corpora(names: Iterable[str]) -> None:
    """Refuse names that are none of a public corpus, and no names at all.

    Raises:
        UsageError: there is such a name, or none.
    """
    for name in list(names) or ["none"]:
        if name not in PUBLIC_CORPORA:
            raise UsageError(
                f"`--corpus` must name some of {', '.join(PUBLIC_CORPORA)}. Received: {name}"
            )


def download_corpus(
    name: str, corpora_dir: str | Path = CORPORA_DIR, keep_archives: bool = False
) -> DownloadedCorpus:
    """Download what is not there yet; a download that was interrupted continues.

    Args:
        name: of the corpus, one of `PUBLIC_CORPORA`.
        corpora_dir: folder for the corpora.
        keep_archives: whether to keep the archives after they are unpacked.

    Raises:
        UsageError: there is no such corpus.
        UserError: a file cannot be downloaded, is not what it should be, or cannot be written.
    """
    check_corpora([name])
    corpus, corpora_dir = PUBLIC_CORPORA[name], Path(corpora_dir)
    existing = []
    for archive in corpus.archives:
        folder = corpora_dir / archive.folder
        if folder.is_dir():
            existing.append(folder)
        else:
            _obtain(archive, corpora_dir, keep_archives)
    options = {option: corpora_dir / place for option, place in corpus.options.items()}
    return DownloadedCorpus(corpus.licence, options, existing)


def _obtain(archive: Archive, corpora_dir: Path, keep: bool) -> None:
    """Download and unpack one archive."""
    path = corpora_dir / archive.name
    downloads.fetch(archive.urls, path, archive.checksums)
    archives.unpack(path, corpora_dir / archive.folder)
    if not keep:
        path.unlink()
