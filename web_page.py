"""The web page, drawn by Gradio: a recording in, the denoised one and spectrograms of both out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from errors import UserError
from web_denoiser import Denoised, WebDenoiser

TITLE = "Speech enhancement"
INTRODUCTION = """
# Remove noise from speech
Drop a recording or record one, and listen to it before and after. It does not leave this server.
"""
NO_RECORDING = "Drop a recording first, or record one"
# Those of the system, since others would come from other servers.
FONTS = ("system-ui", "sans-serif")
MONOSPACE_FONTS = ("ui-monospace", "monospace")
# Results that were made longer ago are deleted this often, both in seconds.
KEEP_S, CLEAN_EVERY_S = 3600, 600
STEP = 0.05


def build(gradio: Any, denoiser: WebDenoiser, name: str, folder: Path) -> Any:
    """The page.

    Args:
        gradio: the package.
        denoiser: what works behind it.
        name: network that is chosen at first.
        folder: where results go.
    """
    page = gradio.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(CLEAN_EVERY_S, KEEP_S))
    with page:
        gradio.Markdown(INTRODUCTION)
        with gradio.Row():
            with gradio.Column():
                noisy = gradio.Audio(
                    label="Noisy",
                    type="filepath",
                    sources=["upload", "microphone"],
                    buttons=[],
                    elem_id="noisy",
                )
                model = gradio.Dropdown(denoiser.names, value=name, label="Model")
                strength = gradio.Slider(
                    0.0, 1.0, 1.0, step=STEP, label="Strength", info="0 nothing, 1 all of the noise"
                )
                button = gradio.Button("Denoise", variant="primary")
            with gradio.Column():
                sound = gradio.Audio(
                    label="Denoised",
                    type="filepath",
                    interactive=False,
                    buttons=["download"],
                    elem_id="denoised",
                )
                summary = gradio.Markdown()
        picture = gradio.Image(
            type="filepath",
            show_label=False,
            elem_id="picture",
            interactive=False,
            buttons=["download", "fullscreen"],
        )
        button.click(
            handler(gradio, denoiser, folder),
            [noisy, model, strength],
            [sound, summary, picture],
            api_name="denoise",
        )
    return page


def handler(gradio: Any, denoiser: WebDenoiser, folder: Path) -> Any:
    """What the button does, as Gradio wants it: values in, values out, its own errors."""
    tracker = gradio.Progress()

    def denoise(
        noisy: str | None, model: str, strength: float, progress: Any = tracker
    ) -> tuple[str, str, str]:
        if noisy is None:
            raise gradio.Error(NO_RECORDING, title="No recording", print_exception=False)

        def show(done: int, total: int, rate: int) -> None:
            progress(done / total, desc=f"{done / rate:.0f} of {total / rate:.0f} s")

        try:
            done = denoiser.denoise(Path(noisy), model, strength, folder, show)
        except UserError as error:
            raise gradio.Error(str(error), title="Not denoised", print_exception=False) from error
        return str(done.sound), describe(done), str(done.picture)

    return denoise


def describe(done: Denoised) -> str:
    """One line about a result."""
    report = done.report
    return (
        f"{report.audio_s:.1f} s at {report.sample_rate} Hz, "
        f"level {report.level_in_dbfs:.1f} dBFS before and {report.level_out_dbfs:.1f} after"
    )
