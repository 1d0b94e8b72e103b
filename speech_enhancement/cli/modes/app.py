"""--mode app: a web page that denoises recordings, for this machine or for a network."""

from __future__ import annotations

import argparse
import threading

from speech_enhancement import registry
from speech_enhancement.errors import UserError
from speech_enhancement.inference import network_files
from speech_enhancement.web import server
from speech_enhancement.web.denoiser import WebDenoiser


def run(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    folder = network_files.folder_of_networks(options.weights_folder)
    denoiser = WebDenoiser(folder, options.max_minutes, options.runtime, options.threads)
    name = name_of(options, denoiser)
    listening = server.Listening(
        host=options.host,
        port=options.port,
        allowed_hosts=options.allowed_hosts,
        max_upload_mb=options.max_upload_mb,
        max_disk_mb=options.max_disk_mb,
    )
    with server.serving(denoiser, name, listening) as address:
        print(f"Open {address} in a browser; press Ctrl-C to stop", flush=True)
        wait()
    return 0


def name_of(options: argparse.Namespace, denoiser: WebDenoiser) -> str:
    """The network that the page begins with: the one that is asked for, or the first there is.

    Raises:
        UserError: another than the default one is asked for, and is not there.
    """
    if options.name_model in denoiser.names:
        return options.name_model
    if options.name_model != registry.DEFAULT_NETWORK:
        raise UserError(
            f"`name_model` must be one of {', '.join(denoiser.names)}. "
            f"Received: {options.name_model}"
        )
    return denoiser.names[0]


def wait() -> None:
    """Return at Ctrl-C."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()
