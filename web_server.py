"""Serves the web page: to this machine or to a network, with nothing from elsewhere.

No file can be read through it but what was sent to it and what was made of that; both lie in a
folder that vanishes with the server.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import atomic_files
import web_page
from errors import UserError
from web_denoiser import WebDenoiser
from web_guard import LOCAL_HOSTS, Guard

FOLDER_PREFIX = "speech_enhancement_"
BYTES_PER_MB = 1_000_000
POLL_S = 0.02
# Visitors that are still connected when the server ends are left after this.
FAREWELL_S = 1


@contextlib.contextmanager
def serving(
    denoiser: WebDenoiser, name: str, host: str, port: int, max_upload_mb: float
) -> Iterator[str]:
    """Serve the page as long as the block lasts; gives its address.

    Args:
        denoiser: what works behind it.
        name: network that is chosen at first.
        host: address to listen at; `127.0.0.1` is reached from this machine only.
        port: port to listen at; 0 for any that is free.
        max_upload_mb: size of the largest recording that is taken, MB.

    Raises:
        UserError: Gradio is not installed, or the address or port cannot be had.
    """
    remove_remains()
    with (
        tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as folder,
        locked(Path(folder)),
        contextlib.closing(_listen(host, port)) as listener,
    ):
        gradio = import_gradio(folder)
        page = web_page.build(gradio, denoiser, name, Path(folder))
        application = _application(gradio, page, host, round(max_upload_mb * BYTES_PER_MB))
        with _running(application, listener):
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{listener.getsockname()[1]}/"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Mark a folder as that of a server that runs."""
    with atomic_files.opened_folder(folder) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def remove_remains() -> None:
    """Delete the folders of servers of this user that were killed, with their visitors' sound."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError, UserError):
            if folder.lstat().st_uid != os.getuid() or not stat.S_ISDIR(folder.lstat().st_mode):
                continue
            with atomic_files.opened_folder(folder) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)


def _listen(host: str, port: int) -> socket.socket:
    """The socket that visitors come to.

    Raises:
        UserError: the address or port cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (")[0]
        raise UserError(f"Cannot listen at --host {host} --port {port}: {reason}") from error


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
        from gradio import processing_utils
    except ImportError as error:
        raise UserError(
            "The web page needs Gradio: pip install -r requirements-extra.txt"
        ) from error
    # A visitor may name an address in place of a file that was uploaded.
    processing_utils.async_ssrf_protected_get = refuse_to_fetch
    return gradio


async def refuse_to_fetch(url: str) -> NoReturn:
    """Stands in for what Gradio fetches from other servers with.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"This page takes files, no addresses. Received: {url}")


def _application(gradio: Any, page: Any, host: str, max_upload_bytes: int) -> Any:
    """The page as a server runs it, behind `Guard`."""
    import fastapi
    from starlette.middleware import Middleware

    hosts = LOCAL_HOSTS if host in LOCAL_HOSTS else ()
    # Until a page has launched, Gradio lets visitors name any file of this machine as their own.
    page.has_launched = True
    return gradio.mount_gradio_app(
        fastapi.FastAPI(middleware=[Middleware(Guard, hosts=hosts)], openapi_url=None),
        page,
        path="/",
        allowed_paths=[],
        max_file_size=max_upload_bytes,
        show_error=False,
        footer_links=[],
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

    config = uvicorn.Config(application, log_level="critical", timeout_graceful_shutdown=FAREWELL_S)
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
