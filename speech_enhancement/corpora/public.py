"""Public recordings to train with: where they are, and what their archives must be.

A checksum is what the publisher states (OpenSLR, DataShare), or what others who pinned the same
archive report. GitHub packs ESC-50 anew from time to time, so that one commit has several.
"""

from __future__ import annotations

import dataclasses

from speech_enhancement import places

CORPORA_DIR = places.WORK / "data/corpora"


@dataclasses.dataclass(frozen=True)
class Archive:
    """One file to download and unpack.

    Args:
        folder: where its content goes, below the folder of all corpora.
        name: name of the file.
        urls: addresses of the file, the publisher's first.
        checksums: `md5:` or `sha256:` and hexadecimal digits; the file must have one of them.
    """

    folder: str
    name: str
    urls: tuple[str, ...]
    checksums: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class PublicCorpus:
    """What can be downloaded under one name.

    Args:
        archives: its files.
        licence: what it may be used for.
        options: options of data_creation that it serves, with folders below that of all corpora.
    """

    archives: tuple[Archive, ...]
    licence: str
    options: dict[str, str]


ESC50_COMMIT = "33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6"
VOICEBANK_FILES = {
    "clean_trainset_28spk_wav": (
        "245452b6-6235-44b6-a6f9-e7eb19797769",
        "md5:d2d5a45ec32f8fcbf201bde0447e20ba",
    ),
    "noisy_trainset_28spk_wav": (
        "ecb5a102-bb00-46d3-8af5-40c79823b837",
        "md5:1fca9e8bafb8cd069f6653c6d92f9e9c",
    ),
    "clean_testset_wav": (
        "dec213d3-bf57-4777-9663-c24bdce92d5e",
        "md5:34eb1c0ba7ef667e9b966866c542fc16",
    ),
    "noisy_testset_wav": (
        "13c1bfbf-14a6-41db-9b41-8f7310f01ad5",
        "md5:fb1b86caa31e8ba5b506c0c64da9aab5",
    ),
}


def _voicebank(name: str) -> Archive:
    """One of the archives of VoiceBank+DEMAND."""
    identifier, checksum = VOICEBANK_FILES[name]
    site = "https://datashare.ed.ac.uk"
    urls = (
        f"{site}/bitstream/handle/10283/2791/{name}.zip",
        f"{site}/server/api/core/bitstreams/{identifier}/content",
    )
    return Archive(f"voicebank_demand/{name}", f"{name}.zip", urls, (checksum,))


PUBLIC_CORPORA = {
    "librispeech_dev_clean": PublicCorpus(
        (
            Archive(
                "librispeech_dev_clean",
                "dev-clean.tar.gz",
                (
                    "https://www.openslr.org/resources/12/dev-clean.tar.gz",
                    "https://us.openslr.org/resources/12/dev-clean.tar.gz",
                    "https://openslr.elda.org/resources/12/dev-clean.tar.gz",
                ),
                ("sha256:76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",),
            ),
        ),
        "LibriSpeech dev-clean: 5.4 h of English, CC BY 4.0",
        {"voice_dir": "librispeech_dev_clean"},
    ),
    "esc50": PublicCorpus(
        (
            Archive(
                "esc50",
                "ESC-50.zip",
                (f"https://github.com/karolpiczak/ESC-50/archive/{ESC50_COMMIT}.zip",),
                (
                    "sha256:661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f",
                    "md5:071b44018315e034b2c6e8064543d19c",
                    "md5:629e8e9ebc1592bcceb06da6bec40275",
                ),
            ),
        ),
        "ESC-50: 2.8 h of noises of 50 classes, CC BY-NC 3.0 (no commercial use)",
        {"noise_dir": "esc50"},
    ),
    "voicebank_demand": PublicCorpus(
        tuple(_voicebank(name) for name in VOICEBANK_FILES),
        "VoiceBank+DEMAND: 11572 pairs to train and 824 to test, CC BY 4.0",
        {
            "clean_dir": "voicebank_demand/clean_trainset_28spk_wav",
            "noisy_dir": "voicebank_demand/noisy_trainset_28spk_wav",
        },
    ),
}
