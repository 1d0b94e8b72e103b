"""The web page, drawn by Gradio: a recording in, the denoised one and spectrograms of both out."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from speech_enhancement.errors import UserError, printable
from speech_enhancement.files.audio_files import CONTAINER_SUFFIXES
from speech_enhancement.web.denoiser import Denoised, WebDenoiser
from speech_enhancement.web.guard import visitor
from speech_enhancement.web.quota import Quota

TITLE = "Speech enhancement"
INTRODUCTION = """
# Remove noise from speech
Drop a recording or record one, and listen to it before and after. It does not leave this server.
"""
FAILED = "This recording cannot be denoised"
NO_RECORDING = "Drop a recording first, or record one"
# Those of the system, since others would come from other servers.
FONTS = ("system-ui", "sans-serif")
MONOSPACE_FONTS = ("ui-monospace", "monospace")
# Results that were made longer ago are deleted this often, both in seconds.
KEEP_S, CLEAN_EVERY_S = 3600, 600
STEP = 0.05
# One picture for each of Gradio's two themes.
STYLE = ".dark #picture, body:not(.dark) #picture_dark { display: none }"


def build(gradio: Any, denoiser: WebDenoiser, name: str, folder: Path, quota: Quota) -> Any:
    """Draw the page.

    Args:
        gradio: the package.
        denoiser: what works behind it.
        name: network that is chosen at first.
        folder: where results go.
        quota: how much may lie there.
    """
    page = gradio.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(CLEAN_EVERY_S, KEEP_S))
    with page:
        gradio.Markdown(INTRODUCTION)
        with gradio.Row():
            with gradio.Column():
                noisy, video = _sources(gradio)
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
        pictures = [_picture(gradio, place) for place in ("picture", "picture_dark")]
        button.click(
            handler(gradio, denoiser, folder, quota),
            [noisy, model, strength, video],
            [sound, summary, *pictures],
            api_name="denoise",
        )
    return page


def _sources(gradio: Any) -> tuple[Any, Any]:
    """Where a visitor puts a recording, or a video, of which the player knows nothing."""
    noisy = gradio.Audio(
        label="Noisy",
        type="filepath",
        sources=["upload", "microphone"],
        buttons=[],
        elem_id="noisy",
    )
    video = gradio.File(
        label="Or the file of a video",
        file_types=list(CONTAINER_SUFFIXES),
        height=100,
        elem_id="video",
    )
    return noisy, video


def _picture(gradio: Any, place: str) -> Any:
    """The component that shows spectrograms."""
    return gradio.Image(
        type="filepath",
        show_label=False,
        elem_id=place,
        interactive=False,
        buttons=["download", "fullscreen"],
    )


def handler(gradio: Any, denoiser: WebDenoiser, folder: Path, quota: Quota) -> Any:
    """What the button does, as Gradio wants it: values in, values out, its own errors."""
    tracker = gradio.Progress()

    def refuse(sentence: str, title: str = "Not denoised") -> Exception:
        return gradio.Error(sentence, title=title, print_exception=False)

    def denoise(
        noisy: str | None,
        model: str,
        strength: float,
        video: str | None,
        request: Any,
        progress: Any = tracker,
    ) -> tuple[str, str, str | None, str | None]:
        source = video or noisy
        if source is None:
            raise refuse(NO_RECORDING, "No recording")

        def show(done: int, total: int, rate: int) -> None:
            progress(done / total, desc=f"{done / rate:.0f} of {total / rate:.0f} s")

        try:
            done = denoiser.denoise(Path(source), model, strength, folder, show)
        except UserError as error:
            raise refuse(str(error)) from error
        except Exception as error:  # a sentence for the visitor, the rest for the log
            print(f"error: {source}: {error!r}", file=sys.stderr, flush=True)
            raise refuse(FAILED) from error
        reason = quota.take(visitor((request.client.host,)), _size(done.folder))
        if reason:
            shutil.rmtree(done.folder)
            raise refuse(reason)
        light, dark = (str(each) if each.is_file() else None for each in done.pictures)
        return str(done.sound), describe(done), light, dark

    denoise.__annotations__["request"] = gradio.Request  # by which Gradio knows what to pass
    return denoise


def _size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir())


def describe(done: Denoised) -> str:
    """One line about a result, and one for each note."""
    report = done.report
    line = (
        f"{report.audio_s:.1f} s at {report.sample_rate} Hz, "
        f"level {report.level_in_dbfs:.1f} dBFS before and {report.level_out_dbfs:.1f} after"
    )
    notes = [f"{report.clipped} samples clipped"] if report.clipped else []
    return "\n\n".join([line, *(f"Note: {printable(note)}" for note in (*notes, *report.notes))])
