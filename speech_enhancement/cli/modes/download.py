"""--mode download: public recordings to train with, verified and unpacked."""

from __future__ import annotations

import argparse

from speech_enhancement.corpora.downloading import check_corpora, download_corpus


def run(options: argparse.Namespace) -> int:
    """Download what is not there yet, and say how to use it."""
    check_corpora(options.corpus)
    for name in options.corpus:
        downloaded = download_corpus(name, options.corpora_dir, options.keep_archives)
        for folder in downloaded.existing:
            print(f"{folder} exists already")
        print(downloaded.licence)
        print("  " + " ".join(f"--{name} {path}" for name, path in downloaded.options.items()))
    return 0
