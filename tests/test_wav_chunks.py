"""What a WAV file says beside its sound stays, and moves with the part that is kept."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import small_networks
import soundfile

from speech_enhancement.files import wav_chunks

RATE, START = 8000, 8000 * 3600
BEXT = bytes(338) + struct.pack("<Q", START) + bytes(range(255))  # of an odd length
LABELS = b"adtllabl" + struct.pack("<II", 9, 1) + b"door\0\0"
CHUNKS = ((b"bext", BEXT), (b"iXML", b"<BWFXML/>"), (b"adtl", LABELS))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return small_networks.save_gate(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def denoised(weights, tmp_path, run_main):
    """A function (options...) that denoises a recording with chunks and gives the result's."""
    source, out = tmp_path / "a.wav", tmp_path / "out"
    soundfile.write(source, 0.1 * np.random.default_rng(0).standard_normal(12_001), RATE, "PCM_U8")
    wav_chunks.append_chunks(source, CHUNKS)

    def run(*options, name="a.wav"):
        network = f"--weights_folder={weights.parent}", f"--name_model={weights.name}"
        outcome = run_main(*network, source, f"--dir_save_prediction={out}", *options)
        assert outcome.code == 0, outcome.err
        return out / name

    return run


def test_all_of_them_stay(denoised):
    path = denoised()
    assert wav_chunks.read_chunks(path) == CHUNKS
    assert soundfile.info(path).frames == 12_001
    assert struct.unpack("<I", path.read_bytes()[4:8])[0] == path.stat().st_size - 8


def test_a_part_begins_later_and_has_no_markers(denoised):
    ((name, data),) = wav_chunks.read_chunks(denoised("--start=0.5"))
    assert name == b"bext"
    assert struct.unpack_from("<Q", data, wav_chunks.TIME_REFERENCE)[0] == START + RATE // 2
    assert len(data) == len(BEXT)


def test_other_formats_have_no_place_for_them(denoised):
    assert wav_chunks.read_chunks(denoised("--format=flac", name="a.flac")) == ()


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEbext\xff\xff"]
)
def test_broken_files_have_none(data, tmp_path):
    (tmp_path / "a.wav").write_bytes(data)
    assert wav_chunks.read_chunks(tmp_path / "a.wav") == ()


def test_a_chunk_larger_than_its_file_is_left_out(tmp_path):
    data = b"RIFF\0\0\0\0WAVE" + struct.pack("<4sI", b"bext", 999) + b"short"
    (tmp_path / "a.wav").write_bytes(data)
    assert wav_chunks.read_chunks(tmp_path / "a.wav") == ()
