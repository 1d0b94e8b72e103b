"""The web page: what it does, what it refuses, and how it looks from a real browser."""

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_networks import save_gain, save_gate
from small_videos import write_sound

from speech_enhancement.errors import UserError
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.prediction.one_file import denoise_file
from speech_enhancement.web import denoiser as web_denoiser
from speech_enhancement.web import server
from speech_enhancement.web.denoiser import WebDenoiser
from speech_enhancement.web.guard import Guard
from speech_enhancement.web.quota import Quota

REPOSITORY = Path(__file__).resolve().parent.parent
NOISY = REPOSITORY / "demo_data" / "noisy" / "alarm.wav"
SECRET = b"the secret of this machine"
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
MAX_UPLOAD_MB = 1.0
WAIT_MS = 60_000


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with a network that listens and one that turns everything down by 20 dB."""
    folder = tmp_path_factory.mktemp("weights")
    save_gate(folder)
    save_gain(folder, 20.0)
    return folder


@pytest.fixture(scope="module")
def denoiser(weights):
    return WebDenoiser(weights, max_minutes=0.5, threads=1)


def predicted(weights, name, target, strength=1.0, source=NOISY):
    """Bytes of what prediction makes of a recording."""
    enhancer = Enhancer.load(weights / name, threads=1, strength=strength)
    denoise_file(enhancer, source, target)
    return target.read_bytes()


@pytest.mark.parametrize(("name", "strength"), [("gate", 1.0), ("gain_20.0", 0.25)])
def test_the_page_gives_what_prediction_gives(weights, denoiser, tmp_path, name, strength):
    done = denoiser.denoise(NOISY, name, strength, tmp_path)
    expected = predicted(weights, name, tmp_path / "expected.wav", strength)
    assert done.sound.name == "alarm_denoised.wav"
    assert done.sound.read_bytes() == expected
    for picture in done.pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_browsers_cannot_play_comes_back_as_wav(denoiser, tmp_path):
    soundfile.write(tmp_path / "sound.aiff", np.zeros(8000), 8000)
    assert denoiser.denoise(tmp_path / "sound.aiff", "gate", 1.0, tmp_path).sound.suffix == ".wav"
    assert web_denoiser.suffix(Path("sound.FLAC")) == ".FLAC"


@pytest.mark.parametrize("claims", [True, False], ids=["header", "no header"])
def test_a_recording_that_is_too_long_is_refused(denoiser, tmp_path, monkeypatch, claims):
    soundfile.write(tmp_path / "long.flac", np.zeros(31 * 8000), 8000)
    if not claims:
        monkeypatch.setattr("speech_enhancement.web.denoiser.Recording", HeaderlessRecording)
    with pytest.raises(UserError, match=r"long\.flac lasts more than 0\.5 minutes"):
        denoiser.denoise(tmp_path / "long.flac", "gate", 1.0, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir() and path.name[:3] == "tmp"]


class HeaderlessRecording:
    """A recording whose header does not tell its length."""

    def __init__(self, path):
        self.n_samples = None
        self.format = soundfile.info(path)
        self.format.sample_rate = self.format.samplerate


def test_messages_name_no_folder_of_the_server(denoiser, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"not a sound")
    with pytest.raises(UserError, match=r"Cannot read bad\.wav as audio") as caught:
        denoiser.denoise(tmp_path / "bad.wav", "gate", 1.0, tmp_path)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("name", ["../weights/gate", "/etc/passwd", "other", ""])
def test_only_the_networks_of_the_folder_can_be_chosen(denoiser, tmp_path, name):
    with pytest.raises(UserError, match=r"The model must be one of gain_20\.0, gate"):
        denoiser.denoise(NOISY, name, 1.0, tmp_path)


def test_a_folder_without_networks_is_refused(tmp_path, run_main):
    outcome = run_main("--mode", "app", "--weights_folder", tmp_path)
    assert outcome.code == 1
    assert outcome.err == f"error: There are no networks in {tmp_path}\n"


def test_a_network_that_is_not_there_is_refused(weights, run_main):
    outcome = run_main("--mode", "app", "--weights_folder", weights, "--name_model", "typo")
    assert outcome.code == 1
    assert re.fullmatch(
        r"error: `name_model` must be one of .*gate.* Received: typo\n", outcome.err
    )


@pytest.mark.parametrize(
    "option",
    [
        *[("--port", "-1"), ("--port", "70000"), ("--max_minutes", "0"), ("--max_upload_mb", "-1")],
        *[("--max_minutes", "inf"), ("--max_upload_mb", "inf")],
    ],
)
def test_options_out_of_their_range_are_usage_errors(weights, run_main, option):
    outcome = run_main("--mode", "app", "--weights_folder", weights, *option)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert option[0].lstrip("-") in outcome.err


def test_without_gradio_one_sentence_tells_how_to_get_it(monkeypatch, weights, run_main):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    outcome = run_main("--mode", "app", "--weights_folder", weights, "--port", port)
    assert outcome.code == 1
    assert (
        outcome.err == "error: The web page needs Gradio: pip install -r requirements-extra.txt\n"
    )


def test_a_port_that_is_taken_ends_in_a_sentence(weights, run_main):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = run_main("--mode", "app", "--weights_folder", weights, "--port", port)
    assert outcome.code == 1
    assert outcome.err == (
        f"error: Cannot listen on --host 127.0.0.1 --port {port}: Address already in use\n"
    )


def guarded(headers, path="/", kind="http", **options):
    """Status and headers of what `Guard` answers, before an application that agrees to all."""

    async def application(scope, receive, send):
        passed.extend(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(message)

    sent, passed = [], []
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "path": path, "headers": pairs}
    asyncio.run(Guard(application, **options)(scope, None, send))
    return {**sent[0], "passed": passed}


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"host": "127.0.0.1:7860"}, "/", 200),
        ({"host": "LOCALHOST:7860", "origin": "http://LOCALHOST:7860"}, "/", 200),
        ({"host": "[::1]:7860"}, "/", 200),
        ({"host": "evil.example"}, "/", 403),
        ({}, "/", 403),
        ({"host": "localhost:7860", "origin": "https://evil.example"}, "/", 403),
        ({"host": "localhost:7860", "origin": "null"}, "/", 403),
        ({"host": "localhost"}, "/gradio_api/file=https://example.org/", 403),
        ({"host": "localhost"}, "/gradio_api/file/https://example.org/", 403),
        ({"host": "localhost"}, "/gradio_api/proxy=https://example.org/", 403),
        ({"host": "["}, "/", 400),
        ({"host": "[::1"}, "/", 400),
        ({"host": "localhost", "origin": "http://["}, "/", 400),
        ({"host": "10.0.0.1"}, "/", 403),
        ({"host": "localhost"}, "/openapi.json", 404),
        ({"host": "localhost"}, "/gradio_api/openapi.json", 404),
        ({"host": "localhost"}, "/docs", 404),
        ({"host": "localhost"}, "/redoc/", 404),
    ],
)
def test_the_guard_knows_its_own_page(headers, path, status):
    assert guarded(headers, path)["status"] == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *[("my-server:80", 200), ("studio.example", 200), ("localhost:7860", 200)],
        *[("192.168.1.7:7860", 200), ("[fe80::1]:7860", 200)],
        *[("evil.example", 403), ("", 403), ("[", 400)],
    ],
)
def test_a_page_for_a_network_has_names(host, status, monkeypatch):
    """A site whose name points here (DNS rebinding) has none of them, and never a number."""
    monkeypatch.setattr(socket, "gethostname", lambda: "My-Server")
    guard = server.Listening("0.0.0.0", allowed_hosts=["studio.example"]).guard()
    assert guarded({"host": host}, **guard)["status"] == status


@pytest.mark.parametrize("name", ["x-forwarded-host", "x-forwarded-proto", "forwarded"])
def test_nothing_is_believed_about_its_own_address(name):
    assert guarded({"host": "localhost", name: "evil.example"})["passed"] == [b"host"]


class TestQuota:
    def quota(self, folder, now=lambda: 0.0):
        return Quota(folder, 1000, 60.0, now)

    def test_a_visitor_has_a_part(self, tmp_path):
        quota = self.quota(tmp_path)
        assert quota.take("a", 200) is None
        assert "You may keep" in quota.take("a", 51)
        assert quota.take("a", 50) is None
        assert quota.take("b", 250) is None

    def test_all_have_what_there_is(self, tmp_path):
        quota = self.quota(tmp_path)
        assert [quota.take(name, 250) for name in "abcd"] == [None] * 4
        assert "no room" in quota.take("e", 1)

    def test_what_lies_there_counts(self, tmp_path):
        (tmp_path / "sound").write_bytes(bytes(900))
        assert "no room" in self.quota(tmp_path).take("a", 101)

    def test_what_is_deleted_is_forgotten(self, tmp_path):
        clock = [0.0]
        quota = self.quota(tmp_path, lambda: clock[0])
        assert quota.take("a", 250) is None
        clock[0] = 61.0
        assert quota.take("a", 250) is None

    @pytest.mark.parametrize(
        ("length", "status"),
        [("200", 200), ("300", 413), ("", 411), ("-5", 411), ("1e2", 411), ("9" * 30, 411)],
    )
    def test_an_upload_takes_its_part(self, tmp_path, length, status):
        headers = {"host": "localhost", **({"content-length": length} if length else {})}
        quota = self.quota(tmp_path)
        assert guarded(headers, "/gradio_api/upload", quota=quota)["status"] == status
        assert guarded(headers, "/gradio_api/queue", quota=quota)["status"] == 200


def test_the_guard_closes_foreign_websockets():
    assert guarded({"host": "evil.example"}, kind="websocket")["type"] == "websocket.close"


def test_the_guard_keeps_the_browser_on_this_server():
    headers = dict(guarded({"host": "localhost"})["headers"])
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert b"http" not in headers[b"content-security-policy"]


# Runs main.py, and notes each look-up of a name and each connection.
WATCHED = """
import sys

def note(event, arguments):
    if event in ("socket.getaddrinfo", "socket.connect"):
        print("NETWORK", event, *arguments, file=sys.stderr, flush=True)

sys.addaudithook(note)
from speech_enhancement.cli import main
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where the server has its temporary folder, beside a secret and a private recording."""
    home = tmp_path_factory.mktemp("home")
    (home / "secret.txt").write_bytes(SECRET)
    (home / "private.wav").write_bytes(NOISY.read_bytes())
    return home


@pytest.fixture(scope="module")
def log(home):
    """What the server said on standard error."""
    return home / "log.txt"


@pytest.fixture(scope="module")
def address(weights, home, log):
    """Address of the page, of a process that is stopped by Ctrl-C at the end."""
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("Gradio is not installed: pip install -r requirements-extra.txt")
    command = [
        *(sys.executable, "-c", WATCHED, "--mode", "app", "--port", "0", "--threads", "1"),
        *("--weights_folder", weights, "--name_model", "gate"),
        *("--max_upload_mb", str(MAX_UPLOAD_MB)),
    ]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, "TMPDIR": str(home)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            said = process.stdout.readline()
            found = re.search(r"http://\S+", said)
            assert found, said + log.read_text()
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    assert process.returncode == 0
    assert {path.name for path in home.iterdir()} == {"secret.txt", "private.wav", "log.txt"}


def request(address, path, data=None, headers=None):
    """Status and body of an answer; the path is sent as it is."""
    wanted = urllib.request.Request(address.rstrip("/") + path, data, headers or {})
    try:
        with urllib.request.urlopen(wanted, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


ROUTES = (
    "/file={}",
    "/gradio_api/file={}",
    "/gradio_api/file=//{}",
    "/gradio_api/file=file://{}",
    "/gradio_api/file=./../{}",
    "/gradio_api/static/{}",
    "/static/../../../../../../../..{}",
    "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{}",
    "/assets/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..{}",
    "/svelte/../../../../../../../..{}",
    "/custom_component/a/client/component/../../../../../../..{}",
    "/gradio_api/deep_link?session_hash={}",
    "/theme.css?v={}",
    "/..{}",
)


@pytest.mark.parametrize("route", ROUTES)
def test_no_file_of_the_server_can_be_read(address, home, route):
    for path in (home / "secret.txt", Path("/etc/passwd")):
        _, body = request(address, route.format(path))
        assert SECRET not in body
        assert b"root:" not in body


@pytest.mark.parametrize("path", ["README.md", "main.py", "weights/model_unet.json"])
def test_no_file_of_the_repository_can_be_read(address, path):
    for place in (path, str(REPOSITORY / path)):
        assert request(address, f"/gradio_api/file={place}")[0] == 403


def test_nothing_is_fetched_for_a_visitor(address, tmp_path, monkeypatch):
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR", "GRADIO_EXAMPLES_CACHE"):
        monkeypatch.setenv(name, "")
    server.import_gradio(str(tmp_path))
    from gradio import processing_utils

    with pytest.raises(ValueError, match="accepts files, but no addresses"):
        asyncio.run(processing_utils.async_ssrf_protected_get("https://example.org/a.wav"))
    assert "event: error" in denoise(address, "https://example.org/a.wav")


def test_no_file_of_the_server_can_be_denoised(address, home):
    for path in (home / "private.wav", NOISY):
        events = denoise(address, str(path))
        assert "event: error" in events
        assert "_denoised" not in events


def denoise(address, path, name="gate", strength=1.0, video=None):
    """The events of a call of the page's function, without the page."""
    files = [p and {"path": p, "meta": {"_type": "gradio.FileData"}} for p in (path, video)]
    body = json.dumps({"data": [files[0], name, strength, files[1]]}).encode()
    headers = {"Content-Type": "application/json"}
    status, answer = request(address, "/gradio_api/call/denoise", body, headers)
    assert status == 200, answer
    event = json.loads(answer)["event_id"]
    return request(address, f"/gradio_api/call/denoise/{event}")[1].decode()


def upload(address, name, data):
    """Status and answer of the upload of a file."""
    boundary = "x" * 20
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    )
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return request(address, "/gradio_api/upload", body, headers)


def test_what_was_uploaded_is_denoised_and_can_be_fetched(address, weights, tmp_path):
    _, answer = upload(address, "alarm.wav", NOISY.read_bytes())
    events = denoise(address, json.loads(answer)[0])
    assert "event: complete" in events
    sound = json.loads(events.split("event: complete\ndata: ")[1])[0]
    status, body = request(address, f"/gradio_api/file={urllib.parse.quote(sound['path'])}")
    assert status == 200
    assert body == predicted(weights, "gate", tmp_path / "expected.wav")


def test_the_sound_of_a_video_is_denoised(address, tmp_path):
    pytest.importorskip("av")
    write_sound(tmp_path / "film.mp4", "aac", 16000, delay_s=1.0)
    _, answer = upload(address, "film.mp4", (tmp_path / "film.mp4").read_bytes())
    events = denoise(address, None, video=json.loads(answer)[0])
    assert "event: complete" in events, events
    assert "film_denoised.wav" in events
    assert "Note: its sound begins" in events


@pytest.mark.parametrize(
    "data", [[], [None], ["a", "b", "c", "d"], [{"path": 5}, 7, "loud", None], [None, "x", 1, None]]
)
def test_an_error_is_a_sentence(address, data):
    headers = {"Content-Type": "application/json"}
    body = json.dumps({"data": data}).encode()
    status, answer = request(address, "/gradio_api/call/denoise", body, headers)
    if status == 200:
        event = json.loads(answer)["event_id"]
        answer = request(address, f"/gradio_api/call/denoise/{event}")[1]
        assert b"event: error" in answer
    assert b"null" not in answer
    assert len(answer) > 10
    assert b"Traceback" not in answer and str(REPOSITORY).encode() not in answer


@pytest.mark.parametrize("route", ["queue/join", "run/predict", "api/predict", "call/nothing"])
def test_what_the_page_never_asks_for_is_answered_with_a_sentence(address, route):
    headers = {"Content-Type": "application/json"}
    body = json.dumps({"data": [1], "fn_index": 99, "session_hash": "x"}).encode()
    status, answer = request(address, f"/gradio_api/{route}", body, headers)
    assert (status, answer) == (500, b"The page did not understand this request")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1@evil.example"])
def test_nothing_is_reflected_from_a_forwarded_host(address, host):
    for path in ("/", "/config", "/gradio_api/info"):
        headers = {"X-Forwarded-Host": host, "X-Forwarded-Proto": "https"}
        status, body = request(address, path, headers=headers)
        assert status == 200
        assert b"evil.example" not in body
        assert b"https://127.0.0.1" not in body


@pytest.mark.parametrize(("name", "value"), [("Host", "["), ("Origin", "http://[")])
def test_a_request_that_names_no_host_is_a_bad_one(address, name, value):
    status, body = request(address, "/", headers={name: value})
    assert status == 400
    assert b"names no host" in body


@pytest.mark.parametrize("name", ["../../../escaped.wav", "/escaped.wav", "..\\escaped.wav"])
def test_an_upload_stays_in_the_folder_of_the_server(address, home, name):
    status, answer = upload(address, name, NOISY.read_bytes())
    (folder,) = home.glob("speech_enhancement_*")
    assert status != 200 or folder in Path(json.loads(answer)[0]).resolve().parents
    assert not [*home.glob("escaped*"), *Path("/").glob("escaped*")]


def test_an_upload_that_is_too_large_is_refused(address):
    status, _ = upload(address, "large.wav", bytes(round(1.1e6 * MAX_UPLOAD_MB)))
    assert status == 413


def test_pages_of_other_sites_get_nothing(address):
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        assert request(address, "/config", headers=headers)[0] == 403
    assert request(address, "/config")[0] == 200


def test_the_server_is_for_this_machine_unless_told_otherwise(run_main, address):
    assert "default: 127.0.0.1" in " ".join(run_main("--mode", "app", "--help").out.split())
    assert urllib.parse.urlsplit(address).hostname == "127.0.0.1"


@pytest.fixture(scope="module")
def browser():
    """A Chromium: Playwright's own, or the system's."""
    playwright = pytest.importorskip("playwright.sync_api")
    arguments = [
        *("--autoplay-policy=no-user-gesture-required", "--use-fake-ui-for-media-stream"),
        *("--use-fake-device-for-media-stream",),
        *(("--no-sandbox",) if os.geteuid() == 0 else ()),
    ]
    with playwright.sync_playwright() as engine:
        path = engine.chromium.executable_path
        path = (
            path if Path(path).exists() else next(filter(None, map(shutil.which, BROWSERS)), None)
        )
        if path is None:
            pytest.skip("no Chromium is installed: make browser, or playwright install chromium")
        with contextlib.closing(
            engine.chromium.launch(executable_path=path, args=arguments)
        ) as browser:
            yield browser


@pytest.fixture(scope="module")
def elsewhere():
    """Addresses outside of the server that the browser asked for."""
    return []


@pytest.fixture
def page(browser, address, elsewhere):
    """The page in a browser, ready."""

    def note(request):
        if not request.url.startswith((address, "data:", "blob:")):
            elsewhere.append(request.url)

    page = browser.new_page(viewport={"width": 1200, "height": 1400})
    page.set_default_timeout(WAIT_MS)
    page.on("request", note)
    page.add_init_script(NOTE_PLAYERS)
    page.goto(address)
    button(page, "Denoise").wait_for()
    yield page
    page.close()


# Keeps the players that were started, which the page need not show.
NOTE_PLAYERS = """
window.played = [];
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () { window.played.push(this); return play.call(this) };
"""
# Red, green and blue of a picture's first pixel.
CORNER = """async address => {
    const image = await createImageBitmap(await (await fetch(address)).blob());
    const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
    context.drawImage(image, 0, 0);
    return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}"""
# The loudest sample of what the last of them plays, as the browser decodes it.
LOUDEST = """async () => {
    const answer = await fetch(window.played.at(-1).currentSrc);
    const sound = await new AudioContext().decodeAudioData(await answer.arrayBuffer());
    return sound.getChannelData(0).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
}"""


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


# On a machine that is busy a browser may lose a click; the page is not at fault then.
in_browser = pytest.mark.flaky(reruns=2, only_rerun="TimeoutError")


def drop(page, path):
    """Give the page a recording, and wait until it is there."""
    page.locator("input[type=file]").first.set_input_files(path)
    page.locator("#noisy").get_by_label("Play", exact=True).wait_for()


@in_browser
def test_a_recording_is_denoised_played_and_downloaded(page, weights, tmp_path):
    drop(page, NOISY)
    button(page, "Denoise").click()
    page.get_by_text("dBFS before").wait_for()

    after = page.locator("#denoised")
    after.get_by_label("Play", exact=True).click()
    page.wait_for_function(
        "() => /0:0[1-9]/.test(document.querySelector('#denoised time').textContent)"
    )
    page.wait_for_function("() => window.played.some(player => player.currentTime > 0.5)")
    assert page.evaluate(LOUDEST) > 0.01
    with page.expect_download() as download:
        after.get_by_label("Download").first.click()
    assert download.value.suggested_filename == "alarm_denoised.wav"
    sound = Path(download.value.path()).read_bytes()
    assert sound == predicted(weights, "gate", tmp_path / "expected.wav")

    picture = page.locator("#picture img")
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 500


@in_browser
@pytest.mark.parametrize(("theme", "brightest"), [("dark", 60), ("light", 255)])
def test_the_picture_fits_the_theme(page, address, theme, brightest):
    page.goto(f"{address}?__theme={theme}")
    drop(page, NOISY)
    button(page, "Denoise").click()
    page.get_by_text("dBFS before").wait_for()
    shown = page.locator("#picture img" if theme == "light" else "#picture_dark img")
    shown.wait_for()
    assert not page.locator("#picture_dark" if theme == "light" else "#picture").is_visible()
    corner = page.evaluate(CORNER, shown.get_attribute("src"))
    assert max(corner) <= brightest
    assert min(corner) > 250 or theme == "dark"


@in_browser
def test_the_model_and_the_strength_are_obeyed(page, weights, tmp_path):
    drop(page, NOISY)
    page.get_by_label("Model").click()
    page.get_by_role("option", name="gain_20.0").click()
    page.get_by_label("number input for Strength").fill("0.5")
    page.keyboard.press("Tab")
    button(page, "Denoise").click()
    page.get_by_text("dBFS before").wait_for()
    with page.expect_download() as download:
        page.locator("#denoised").get_by_label("Download").first.click()
    sound = Path(download.value.path()).read_bytes()
    assert sound == predicted(weights, "gain_20.0", tmp_path / "expected.wav", 0.5)


@in_browser
def test_a_bad_file_and_a_missing_one_end_in_a_message(page, tmp_path):
    button(page, "Denoise").click()
    page.get_by_text("Drop a recording first, or record one").wait_for()
    (tmp_path / "bad.wav").write_bytes(b"not a sound at all")
    with page.expect_response(lambda response: "/upload?" in response.url):
        page.locator("input[type=file]").first.set_input_files(tmp_path / "bad.wav")
    # The player of a file that cannot be played has no more to show than that the file is there.
    page.get_by_test_id("audio-player-Noisy").wait_for(state="attached")
    button(page, "Denoise").click()
    page.get_by_text("Cannot read bad.wav as audio").wait_for()


@in_browser
def test_a_microphone_is_recorded_and_denoised(page):
    page.get_by_label("Record audio").click()
    button(page, "Record").click()
    page.wait_for_timeout(1500)
    button(page, "Stop").click()
    # The recorder has a button to play too, and shows it before the server has the recording.
    page.get_by_test_id("audio-player-Noisy").wait_for(state="attached")
    button(page, "Denoise").click()
    page.get_by_text("dBFS before").wait_for()


def test_nothing_was_asked_of_other_machines(address, elsewhere, log):
    assert not elsewhere
    assert "NETWORK" not in log.read_text()
