"""Serves the web page: to this machine or to a network, with nothing from elsewhere.

No file can be read through it but what was sent to it and what was made of that; both lie in a
folder that vanishes with the server.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from speech_enhancement import places
from speech_enhancement.errors import UserError
from speech_enhancement.files import atomic, descriptors
from speech_enhancement.web import page as web_page
from speech_enhancement.web import quota as web_quota
from speech_enhancement.web.denoiser import WebDenoiser
from speech_enhancement.web.guard import LOCAL_HOSTS, NOT_UNDERSTOOD, Guard
from speech_enhancement.web.quota import BYTES_PER_MB

FOLDER_PREFIX = "speech_enhancement_"
POLL_S = 0.02
# Visitors that are still connected when the server ends are left after this.
FAREWELL_S = 1


@dataclasses.dataclass(frozen=True)
class Listening:
    """The address to listen on, and the limits for visitors.

    Args:
        host: address to listen at; `127.0.0.1` is reached from this machine only.
        port: port to listen at; 0 for any that is free.
        allowed_hosts: names that visitors may know this server by, beside its own.
        max_upload_mb: size of the largest recording that is taken, MB.
        max_disk_mb: size of all recordings and results that are kept, MB.
    """

    host: str = "127.0.0.1"
    port: int = 0
    allowed_hosts: Sequence[str] = ()
    max_upload_mb: float = 100.0
    max_disk_mb: float = 2000.0

    def guard(self) -> dict[str, Any]:
        """The arguments of `Guard` about host names."""
        if self.host in LOCAL_HOSTS:
            return {"hosts": LOCAL_HOSTS | set(self.allowed_hosts)}
        own = socket.gethostname().lower()
        names = {self.host, own, f"{own}.local", *self.allowed_hosts}
        return {"hosts": LOCAL_HOSTS | {n.lower() for n in names}, "takes_addresses": True}


@contextlib.contextmanager
def serving(denoiser: WebDenoiser, name: str, listening: Listening) -> Iterator[str]:
    """Serve the page as long as the block lasts; gives its address.

    Args:
        denoiser: what works behind it.
        name: network that is chosen at first.
        listening: who may come, and with how much.

    Raises:
        UserError: Gradio is not installed, or the address or port cannot be had.
    """
    remove_remains()
    with (
        tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as folder,
        locked(Path(folder)),
        contextlib.closing(_listen(listening.host, listening.port)) as listener,
    ):
        gradio = import_gradio(folder)
        most = round(listening.max_disk_mb * BYTES_PER_MB)
        kept_s = web_page.KEEP_S + web_page.CLEAN_EVERY_S
        quota = web_quota.Quota(Path(folder), most, kept_s)
        page = web_page.build(gradio, denoiser, name, Path(folder), quota)
        guard = {**listening.guard(), "quota": quota}
        application = _application(
            gradio, page, guard, round(listening.max_upload_mb * BYTES_PER_MB)
        )
        with _running(application, listener):
            shown = f"[{listening.host}]" if ":" in listening.host else listening.host
            yield f"http://{shown}:{listener.getsockname()[1]}/"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Mark a folder as that of a server that runs, where folders can be locked."""
    if not descriptors.CAN_LOCK:
        yield
        return
    with atomic.opened_folder(folder) as descriptor:
        descriptors.lock(descriptor, wait=True)
        yield


def remove_remains() -> None:
    """Delete the folders of servers of this user that were killed, with their visitors' sound."""
    if not descriptors.CAN_LOCK:  # where nothing tells them from those of servers that run
        return
    own = os.getuid()
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError, UserError):
            if folder.lstat().st_uid != own or not stat.S_ISDIR(folder.lstat().st_mode):
                continue
            with atomic.opened_folder(folder) as descriptor:
                if descriptors.lock(descriptor):
                    shutil.rmtree(folder)


def _listen(host: str, port: int) -> socket.socket:
    """The socket that the server listens on.

    Raises:
        UserError: the address or port cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (")[0]
        raise UserError(f"Cannot listen on --host {host} --port {port}: {reason}") from error


def import_gradio(folder: str) -> Any:
    """Gradio, which is optional, told to keep its files in a folder and to stay on this machine.

    Raises:
        UserError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = folder
    os.environ["GRADIO_EXAMPLES_CACHE"] = folder
    try:
        import gradio
        from gradio import processing_utils, queueing, utils
    except ImportError as error:
        raise UserError(f"The web page needs Gradio: {places.install_command('extra')}") from error
    # A visitor may name an address in place of a file that was uploaded.
    processing_utils.async_ssrf_protected_get = refuse_to_fetch
    utils.error_payload = queueing.error_payload = _in_words(utils.error_payload)
    return gradio


def _in_words(error_payload: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Replace Gradio's own error messages by a sentence without internal details."""

    def worded(error: BaseException | None, show_error: bool) -> dict[str, Any]:
        content = error_payload(error, show_error)
        return content if content["error"] else {**content, "error": NOT_UNDERSTOOD}

    return worded


async def refuse_to_fetch(url: str) -> NoReturn:
    """Stands in for what Gradio fetches from other servers with.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"This page accepts files, but no addresses. Received: {url}")


def _application(gradio: Any, page: Any, guard: dict[str, Any], max_upload_bytes: int) -> Any:
    """The page as a server runs it, behind `Guard`."""
    import fastapi
    from starlette.middleware import Middleware

    # Until a page has launched, Gradio lets visitors name any file of this machine as their own.
    page.has_launched = True
    return gradio.mount_gradio_app(
        fastapi.FastAPI(middleware=[Middleware(Guard, **guard)], openapi_url=None),
        page,
        path="/",
        allowed_paths=[],
        max_file_size=max_upload_bytes,
        show_error=False,
        footer_links=[],
        css=web_page.STYLE,
        theme=gradio.themes.Default(font=web_page.FONTS, font_mono=web_page.MONOSPACE_FONTS),
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
    )


@contextlib.contextmanager
def _running(application: Any, listener: socket.socket) -> Iterator[None]:
    """A server in a thread of its own, for as long as the block lasts."""
    import uvicorn

    config = uvicorn.Config(
        application,
        log_level="critical",
        timeout_graceful_shutdown=FAREWELL_S,
        proxy_headers=False,  # anybody can send those
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while thread.is_alive() and not server.started:
            time.sleep(POLL_S)
        if not thread.is_alive():
            raise UserError("The web page did not start; is Gradio up to date?")
        yield
    finally:
        server.should_exit = True
        thread.join()
