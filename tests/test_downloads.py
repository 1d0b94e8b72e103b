"""Downloads from a server of this machine that interrupts, corrupts and misunderstands them."""

import contextlib
import dataclasses
import errno
import hashlib
import http.server
import io
import os
import socket
import tarfile
import threading
import zipfile

import numpy as np
import pytest
import soundfile

from speech_enhancement import download_corpus
from speech_enhancement.corpora import pools
from speech_enhancement.corpora.public import PUBLIC_CORPORA
from speech_enhancement.errors import UserError
from speech_enhancement.files import archives, descriptors, downloads
from speech_enhancement.files.downloads import Patience

CONTENT = bytes(np.random.default_rng(0).integers(0, 256, 300_000, np.uint8))
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
QUICK = Patience(attempts=3, wait_s=0.001, timeout_s=5.0)


@dataclasses.dataclass
class Behaviour:
    """What the server does with each request, and what was asked of it.

    Args:
        content: what it has.
        cuts: bytes after which it hangs up, one for each of the first requests.
        codes: answers other than 200, one for each of the first requests.
        ranges: whether it answers a part where a part is asked for.
        lengths: whether it says how much is coming.
        length: what it says instead of that.
        location: where else it sends whoever asks.
    """

    content: bytes = CONTENT
    cuts: tuple[int, ...] = ()
    codes: tuple[int, ...] = ()
    ranges: bool = True
    lengths: bool = True
    length: str | None = None
    location: str | None = None
    asked: list[str | None] = dataclasses.field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        behaviour = self.server.behaviour
        number = len(behaviour.asked)
        behaviour.asked.append(self.headers["Range"])
        if number < len(behaviour.codes):
            self.send_error(behaviour.codes[number])
            return
        if behaviour.location is not None:
            self.send_response(302)
            self.send_header("Location", behaviour.location)
            self.end_headers()
            return
        begin = 0
        if self.headers["Range"] and behaviour.ranges:
            begin = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        if begin >= len(behaviour.content):
            self.send_error(416)
            return
        self.answer(behaviour, begin, number)

    def answer(self, behaviour, begin, number):
        total = len(behaviour.content)
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
        if behaviour.lengths:
            self.send_header("Content-Length", behaviour.length or str(total - begin))
        self.end_headers()
        cut = behaviour.cuts[number] if number < len(behaviour.cuts) else total
        self.wfile.write(behaviour.content[begin : begin + cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A server whose `behaviour` the test sets, and its `url`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.behaviour = Behaviour()
    server.url = f"http://127.0.0.1:{server.server_port}/file"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(server, path, *more_urls, checksums=(CHECKSUM,)):
    downloads.fetch([server.url, *more_urls], path, checksums, QUICK)


def test_a_file_arrives_and_is_not_asked_for_again(server, tmp_path):
    fetch(server, tmp_path / "new" / "file.bin")
    fetch(server, tmp_path / "new" / "file.bin")
    assert (tmp_path / "new" / "file.bin").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.bin"]
    assert server.behaviour.asked == [None]


def test_a_lost_connection_is_taken_up_where_it_broke(server, tmp_path):
    server.behaviour = Behaviour(cuts=(100_000, 50_000))
    fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.behaviour.asked == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_run_goes_on_with_what_an_earlier_one_left(server, tmp_path):
    server.behaviour = Behaviour(cuts=(100_000, 0, 0, 0))
    with pytest.raises(UserError, match="the connection was lost"):
        fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:100_000]
    assert not (tmp_path / "file.bin").exists()
    server.behaviour = Behaviour()
    fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.behaviour.asked == ["bytes=100000-"]


def test_a_server_that_ignores_ranges_sends_all_of_it_again(server, tmp_path):
    server.behaviour = Behaviour(cuts=(100_000,), ranges=False)
    fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_that_is_complete_is_only_verified(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_server_that_tells_no_length(server, tmp_path):
    server.behaviour = Behaviour(lengths=False)
    fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("damaged", ["server", "part"])
def test_what_is_corrupted_is_deleted_and_its_checksum_told(server, tmp_path, damaged):
    wrong = b"x" + CONTENT[1:]
    if damaged == "server":
        server.behaviour = Behaviour(content=wrong)
    else:
        (tmp_path / "file.bin.part").write_bytes(wrong[:1000])
    with pytest.raises(UserError, match=hashlib.sha256(wrong).hexdigest()):
        fetch(server, tmp_path / "file.bin")
    assert not list(tmp_path.iterdir())


def test_one_of_several_checksums_is_enough(server, tmp_path):
    md5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
    fetch(server, tmp_path / "file.bin", checksums=["sha256:00", md5])
    assert (tmp_path / "file.bin").is_file()


def test_a_missing_file_is_not_asked_for_twice(server, tmp_path):
    server.behaviour = Behaviour(codes=(404,) * 9)
    with pytest.raises(UserError, match="the server says 404 Not Found"):
        fetch(server, tmp_path / "file.bin")
    assert len(server.behaviour.asked) == 1
    assert not (tmp_path / "file.bin").exists()


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.behaviour = Behaviour(codes=(503, 500))
    fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_the_next_address_completes_what_the_first_began(server, tmp_path):
    server.behaviour = Behaviour(cuts=(100_000,), codes=())
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    downloads.fetch([nobody, server.url], tmp_path / "file.bin", [CHECKSUM], QUICK)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_an_address_that_gives_another_file_is_passed_over(server, tmp_path):
    server.behaviour = Behaviour(content=b"an error page")
    right = tmp_path / "right.bin"
    right.write_bytes(CONTENT)
    fetch(server, tmp_path / "file.bin", right.as_uri())
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_without_a_network_one_sentence_names_every_address(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    with pytest.raises(UserError, match=r"no connection: Connection refused.*nor from") as caught:
        downloads.fetch([nobody, nobody], tmp_path / "file.bin", [CHECKSUM], QUICK)
    assert "\n" not in str(caught.value)


def test_a_silent_server_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(UserError, match="timed out"):
            downloads.fetch([url], tmp_path / "file.bin", [CHECKSUM], Patience(1, 0.0, 0.05))


def test_what_does_not_fit_is_not_begun(server, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 100_000})
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"the disk lacks 0\.2 MB"):
        fetch(server, tmp_path / "file.bin")
    assert not (tmp_path / "file.bin").exists()


def test_a_disk_that_fills_up_ends_in_a_sentence(server, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads, "_append", fail)
    with pytest.raises(UserError, match=r"Cannot write .*: No space left on device"):
        fetch(server, tmp_path / "file.bin")


def test_two_processes_do_not_write_one_file(server, tmp_path):
    with (tmp_path / "file.bin.part").open("ab") as other:
        descriptors.lock(other.fileno())
        with pytest.raises(UserError, match="Another process is downloading"):
            fetch(server, tmp_path / "file.bin")


@pytest.mark.parametrize("length", ["many", "-5", "1e3", "0x10"])
def test_a_length_that_is_no_number_is_none(server, tmp_path, length):
    server.behaviour = Behaviour(length=length)
    fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "location", ["http://[", "http://a b/", "file:///etc/passwd", "http://:x/"]
)
def test_an_address_that_is_none_is_passed_over(server, tmp_path, location):
    server.behaviour = Behaviour(location=location)
    with pytest.raises(UserError, match=r"Cannot download file.bin from .*address|connection|says"):
        fetch(server, tmp_path / "file.bin")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("lengths", [True, False])
def test_a_body_without_an_end_is_given_up(server, tmp_path, monkeypatch, lengths):
    monkeypatch.setattr(downloads, "LARGEST_FILE", 100_000)
    server.behaviour = Behaviour(lengths=lengths)
    with pytest.raises(UserError, match=r"Cannot download .*the server (has|sends more)"):
        fetch(server, tmp_path / "file.bin")
    assert not list(tmp_path.iterdir())


def test_a_part_that_is_a_link_is_not_followed(server, tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "file.bin.part").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match=r"Cannot write .*file\.bin\.part"):
        fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not server.behaviour.asked


def test_a_part_that_is_a_pipe_is_refused_at_once(server, tmp_path):
    os.mkfifo(tmp_path / "file.bin.part")
    with pytest.raises(UserError, match=r"Cannot write .*file\.bin\.part"):
        fetch(server, tmp_path / "file.bin")


def pack_zip(path, files):
    with zipfile.ZipFile(path, "w") as pack:
        for name, data in files.items():
            pack.writestr(name, data)
    return path


def pack_tar(path, files):
    with tarfile.open(path, "w:gz") as pack:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            pack.addfile(entry, io.BytesIO(data))
    return path


PACKERS = pytest.mark.parametrize(
    ("pack", "suffix"), [(pack_zip, ".zip"), (pack_tar, ".tar.gz")], ids=["zip", "tar"]
)


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@PACKERS
def test_an_archive_unpacks_without_its_own_folder(tmp_path, pack, suffix):
    files = {"ESC-50/audio/1.wav": b"one", "ESC-50/meta/a.csv": b"two", "__MACOSX/._1": b"no"}
    archive = pack(tmp_path / f"pack{suffix}", files)
    archives.unpack(archive, tmp_path / "corpora" / "esc50")
    assert content(tmp_path / "corpora") == {
        "esc50/audio/1.wav": b"one",
        "esc50/meta/a.csv": b"two",
    }


@PACKERS
@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt", "/out.txt", "C:/out", "..\\out"])
def test_an_archive_never_writes_outside_of_its_folder(tmp_path, pack, suffix, name):
    archive = pack(tmp_path / f"pack{suffix}", {"a/in.txt": b"in", name: b"out"})
    with pytest.raises(UserError, match="a place outside of itself"):
        archives.unpack(archive, tmp_path / "corpora" / "esc50")
    assert content(tmp_path).keys() == {archive.name}


@PACKERS
@pytest.mark.parametrize("name", [".", "./."])
def test_a_file_without_a_name_is_refused(tmp_path, pack, suffix, name):
    archive = pack(tmp_path / f"pack{suffix}", {"a/in.txt": b"in", name: b"out"})
    with contextlib.suppress(UserError):
        archives.unpack(archive, tmp_path / "corpora")
    assert content(tmp_path).keys() <= {archive.name, "corpora/in.txt"}


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [(6, 1, "encrypted"), (8, 99, "method"), (14, 7, "CRC")],
    ids=["encrypted", "unknown method", "checksum"],
)
def test_what_cannot_be_read_of_an_archive_ends_in_a_sentence(tmp_path, place, value, sentence):
    """Byte `place` of the header of a zip's file, which its directory has 2 bytes further on."""
    archive = pack_zip(tmp_path / "pack.zip", {"a.txt": b"in" * 50})
    data = bytearray(archive.read_bytes())
    for header in (0, data.index(b"PK\x01\x02") + 2):
        data[header + place] = value
    archive.write_bytes(data)
    with pytest.raises(UserError, match=rf"pack\.zip.*{sentence}"):
        archives.unpack(archive, tmp_path / "out")
    assert content(tmp_path).keys() == {"pack.zip"}


def test_links_in_an_archive_are_left_out(tmp_path):
    archive = tmp_path / "pack.tar"
    with tarfile.open(archive, "w") as pack:
        link = tarfile.TarInfo("top/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        pack.addfile(link)
        inside = tarfile.TarInfo("top/link/passwd")
        inside.size = 2
        pack.addfile(inside, io.BytesIO(b"in"))
    archives.unpack(archive, tmp_path / "out")
    assert content(tmp_path / "out") == {"link/passwd": b"in"}
    assert not (tmp_path / "out" / "link").is_symlink()


@PACKERS
def test_a_damaged_archive_leaves_nothing(tmp_path, pack, suffix):
    archive = pack(tmp_path / f"pack{suffix}", {"a/1.bin": CONTENT, "a/2.bin": CONTENT})
    data = bytearray(archive.read_bytes())
    data[len(data) // 2 :: 7] = bytes(len(data[len(data) // 2 :: 7]))
    archive.write_bytes(data)
    with pytest.raises(UserError, match=r"is damaged|Cannot unpack"):
        archives.unpack(archive, tmp_path / "out")
    assert content(tmp_path).keys() == {archive.name}


@pytest.fixture
def small_corpora(server, tmp_path, monkeypatch):
    """Corpora as they are packed by their publishers, of a few files, from the server."""
    sound = io.BytesIO()
    soundfile.write(sound, np.sin(np.arange(800.0)), 8000, format="WAV")
    files = {
        "dev-clean.tar.gz": ("LibriSpeech/dev-clean/84/121123/84-121123-0000.wav",),
        "ESC-50.zip": ("ESC-50-33c8/audio/1-1-A-0.wav", "ESC-50-33c8/meta/esc50.csv"),
        "clean_trainset_28spk_wav.zip": ("clean_trainset_28spk_wav/p226_001.wav",),
        "noisy_trainset_28spk_wav.zip": ("noisy_trainset_28spk_wav/p226_001.wav",),
        "clean_testset_wav.zip": ("clean_testset_wav/p232_001.wav",),
        "noisy_testset_wav.zip": ("noisy_testset_wav/p232_001.wav",),
    }
    table = b"filename,category\n1-1-A-0.wav,dog\n"

    def fetch_small(urls, path, checksums):
        pack = pack_zip if path.suffix == ".zip" else pack_tar
        data = {n: table if n.endswith(".csv") else sound.getvalue() for n in files[path.name]}
        packed = pack(tmp_path / path.name, data).read_bytes()
        server.behaviour = Behaviour(content=packed, cuts=(100,))
        checksum = f"sha256:{hashlib.sha256(packed).hexdigest()}"
        real_fetch([server.url], path, [checksum], QUICK)

    real_fetch = downloads.fetch
    monkeypatch.setattr(downloads, "fetch", fetch_small)
    return tmp_path / "corpora"


def test_all_corpora_unpack_to_what_data_creation_reads(small_corpora, run_main):
    names = "librispeech_dev_clean,esc50,voicebank_demand"
    command = ("--mode", "download", "--corpus", names, "--corpora_dir", small_corpora)
    outcome = run_main(*command)
    assert outcome.code == 0, outcome.err
    assert f"--voice_dir {small_corpora}/librispeech_dev_clean" in outcome.out
    ((_, speaker),) = pools.find_voices(small_corpora / "librispeech_dev_clean")
    assert speaker == "dev-clean/84"
    ((_, category),) = pools.find_noises(small_corpora / "esc50")
    assert category == "dog"
    for side in ("clean", "noisy"):
        folder = small_corpora / "voicebank_demand" / f"{side}_trainset_28spk_wav"
        assert pools.find_voices(folder) == [(folder / "p226_001.wav", "p226")]
    assert not list(small_corpora.glob("*.zip"))
    assert "exists already" in run_main(*command).out


@pytest.mark.parametrize("names", ["", "timit", "esc50,timit"])
def test_a_corpus_that_is_not_known_is_a_usage_error(tmp_path, run_main, names):
    outcome = run_main("--mode", "download", "--corpus", names, "--corpora_dir", tmp_path / "c")
    assert outcome.code == 2
    assert "of librispeech_dev_clean, esc50, voicebank_demand" in outcome.err
    assert not (tmp_path / "c").exists()


def test_a_program_downloads_a_corpus_once(small_corpora):
    first, again = (download_corpus("esc50", str(small_corpora)) for _ in range(2))
    assert first.options == again.options == {"noise_dir": small_corpora / "esc50"}
    assert (first.existing, again.existing) == ([], [small_corpora / "esc50"])


def test_archives_can_be_kept(small_corpora, run_main):
    command = ("--mode", "download", "--corpus", "esc50", "--corpora_dir", small_corpora)
    assert run_main(*command, "--keep_archives").code == 0
    assert (small_corpora / "ESC-50.zip").is_file()


@pytest.mark.parametrize("name", PUBLIC_CORPORA)
def test_every_archive_has_a_whole_checksum_and_a_safe_address(name):
    corpus = PUBLIC_CORPORA[name]
    for archive in corpus.archives:
        assert archive.checksums
        for checksum in archive.checksums:
            method, _, digits = checksum.partition(":")
            assert len(bytes.fromhex(digits)) == hashlib.new(method).digest_size
        assert all(url.startswith("https://") for url in archive.urls)
    served = [archive.folder for archive in corpus.archives]
    assert set(corpus.options.values()) <= set(served)
