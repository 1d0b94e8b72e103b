"""--mode download: public recordings to train with, verified and unpacked."""

from __future__ import annotations

import argparse
from pathlib import Path

from speech_enhancement.corpora.public import PUBLIC_CORPORA, Archive, PublicCorpus
from speech_enhancement.errors import UsageError
from speech_enhancement.files import archives, downloads


def run(options: argparse.Namespace) -> int:
    """Download what is not there yet, and say how to use it."""
    for corpus in chosen(options.corpus):
        for archive in corpus.archives:
            obtain(archive, options.corpora_dir, options.keep_archives)
        print(corpus.licence)
        print(f"  {usage(corpus, options.corpora_dir)}")
    return 0


def chosen(names: list[str]) -> list[PublicCorpus]:
    """The corpora of these names.

    Raises:
        UsageError: there is no name, or one that is not known.
    """
    for name in names or ["none"]:
        if name not in PUBLIC_CORPORA:
            raise UsageError(
                f"`--corpus` must name some of {', '.join(PUBLIC_CORPORA)}. Received: {name}"
            )
    return [PUBLIC_CORPORA[name] for name in names]


def obtain(archive: Archive, corpora_dir: Path, keep: bool) -> None:
    """Download and unpack one archive, unless its folder is there."""
    folder = corpora_dir / archive.folder
    if folder.is_dir():
        print(f"{folder} exists already")
        return
    path = corpora_dir / archive.name
    downloads.fetch(archive.urls, path, archive.checksums)
    archives.unpack(path, folder)
    if not keep:
        path.unlink()


def usage(corpus: PublicCorpus, corpora_dir: Path) -> str:
    """The options of data_creation that the corpus serves."""
    return " ".join(f"--{name} {corpora_dir / place}" for name, place in corpus.options.items())
