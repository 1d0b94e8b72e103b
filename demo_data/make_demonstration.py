"""Make the pictures and animations of docs/demonstration/, and execute the notebook of this folder.

    python -m demo_data.make_demonstration                 write them over those that are here
    python -m demo_data.make_demonstration some/folder     write the pictures elsewhere, only

They show recordings of this folder, denoised by shipped networks. Everything is drawn from them:
where a network or a recording changes, run it again (`make demonstration`).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
from PIL import Image

from speech_enhancement.errors import UserError
from speech_enhancement.files import atomic, audio_io
from speech_enhancement.inference import pictures
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.scoring import metrics
from speech_enhancement.signal import dsp, levels

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
PICTURES = REPOSITORY / "docs" / "demonstration"
NOTEBOOK = HERE / "demo_predictions.ipynb"

EXAMPLES = ("alarm", "insects", "vacuum_cleaner", "bells")
NETWORK = "dpcrn_offline"
NETWORKS = (NETWORK, "model_unet")
FLOW_NETWORK = "model_unet"
FLOW_EXAMPLE = "vacuum_cleaner"
FLOW_BEGIN_S = 0.6

DPI = 100
RANGE_DB = 65.0
SWEEP_FRAMES = 48
FRAME_MS = 60
FIRST_MS, LAST_MS = 900, 2500
LINE, LINE_PIXELS = (230, 60, 60), 2
COLOURS, NEARLY_WHITE = 128, 240
PICTURE_COLOURS = 256
BEFORE, AFTER, CLEAN = "noisy", "denoised", "clean"
WAVEFORM_COLOURS = {BEFORE: "0.55", CLEAN: "tab:green"}
NOTEBOOK_TIMEOUT_S = 600


@dataclasses.dataclass(frozen=True)
class Example:
    """A recording of this folder and what the networks make of it.

    Args:
        name: of its noise.
        rate: Hz.
        versions: `noisy`, the networks' names and `clean`, float32 (samples,) each.
    """

    name: str
    rate: int
    versions: dict[str, np.ndarray]

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.versions[CLEAN]) / self.rate

    @property
    def title(self) -> str:
        """Its name for people."""
        return title_of(self.name)

    def si_sdr(self, version: str) -> float:
        """SI-SDR of a version, dB."""
        return metrics.si_sdr(self.versions[CLEAN], self.versions[version], self.rate)


def title_of(name: str) -> str:
    """A class of noise for people."""
    return name.replace("_", " ").capitalize()


def load_examples() -> list[Example]:
    """The four recordings, denoised by every network of `NETWORKS`."""
    enhancers = {name: Enhancer.load(name) for name in NETWORKS}
    examples = []
    for name in EXAMPLES:
        noisy, rate = audio_io.load_audio(HERE / "noisy" / f"{name}.wav")
        clean, _ = audio_io.load_audio(HERE / CLEAN / f"{name}.wav")
        estimates = {key: enhancer.enhance(noisy, rate) for key, enhancer in enhancers.items()}
        examples.append(Example(name, rate, {BEFORE: noisy, **estimates, CLEAN: clean}))
    return examples


def spectrogram_panel(axis: Axes, example: Example, version: str) -> None:
    """Draw the spectrogram of a version, on the colour scale of the example's noisy one."""
    highest = float(pictures.spectrogram_db(example.versions[BEFORE], example.rate).max())
    spectrogram = pictures.spectrogram_db(example.versions[version], example.rate)
    image = pictures.draw_spectrogram(axis, spectrogram, example.seconds, example.rate, highest)
    image.set_clim(highest - RANGE_DB, highest)


def waveform_panel(axis: Axes, example: Example, version: str) -> None:
    """Draw the waveform of a version, on the scale of the example's noisy one."""
    waveform = example.versions[version]
    time = np.arange(len(waveform)) / example.rate
    colour = WAVEFORM_COLOURS.get(version, "tab:blue")
    axis.plot(time, waveform, linewidth=0.4, color=colour)
    loudest = 1.05 * float(np.abs(example.versions[BEFORE]).max())
    axis.set_ylim(-loudest, loudest)
    axis.set_xlim(0.0, example.seconds)


Panel = Callable[[Axes, Example, str], None]


def examples_figure(examples: list[Example], panel: Panel, label: str) -> Figure:
    """A row for each example and a column for each version.

    Args:
        examples: the rows.
        panel: what draws one of them.
        label: what the vertical axes show.
    """
    versions = list(examples[0].versions)
    figure = Figure(figsize=(13, 1.9 * len(examples)), layout="constrained")
    axes = figure.subplots(len(examples), len(versions), sharey="row", squeeze=False)
    for row, example in zip(axes, examples, strict=True):
        for axis, version in zip(row, versions, strict=True):
            panel(axis, example, version)
            if version != CLEAN:
                axis.set_title(f"SI-SDR {example.si_sdr(version):.1f} dB", fontsize=9)
        row[0].set_ylabel(f"{example.title}\n{label}")
    for axis, version in zip(axes[0], versions, strict=True):
        score = axis.get_title()
        axis.set_title(f"{version}\n{score}".strip(), fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("time (s)")
    return figure


def state_figure(
    examples: list[Example], panel: Panel, label: str, version: str, state: str
) -> Figure:
    """One state of an animation: four panels that say whether they are noisy or denoised.

    Args:
        examples: one panel each.
        panel: what draws one of them.
        label: what the vertical axes show.
        version: the one to draw.
        state: `BEFORE` or `AFTER`, which is written where the other one is not.
    """
    figure = Figure(figsize=(9, 4.6), layout="constrained", dpi=DPI)
    place, align = (0.985, "right") if state == BEFORE else (0.015, "left")
    for axis, example in zip(figure.subplots(2, 2).flat, examples, strict=True):
        panel(axis, example, version)
        axis.set_title(example.title, fontsize=10)
        axis.text(
            *(place, 0.94, state),
            transform=axis.transAxes,
            ha=align,
            va="top",
            bbox={"facecolor": "white", "edgecolor": "0.5", "boxstyle": "round,pad=0.25"},
        )
        axis.tick_params(labelsize=8)
    figure.supxlabel("time (s)", fontsize=9)
    figure.supylabel(label, fontsize=9)
    return figure


def rendered(figure: Figure) -> tuple[np.ndarray, list[tuple[slice, slice]]]:
    """A figure as pixels (rows, columns, 3), and where in them its panels are."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    boxes = []
    for axis in figure.axes:
        left, bottom, right, top = np.round(axis.get_window_extent().extents).astype(int)
        boxes.append((slice(len(pixels) - top, len(pixels) - bottom), slice(left, right)))
    return pixels, boxes


def sweep(before: Figure, after: Figure) -> Iterator[np.ndarray]:
    """Frames in which a line moves through each panel, and leaves `after` behind it.

    Args:
        before, after: two figures of the same layout.
    """
    frame, boxes = rendered(before)
    after_pixels, _ = rendered(after)
    yield frame.copy()
    for part in np.linspace(0.0, 1.0, SWEEP_FRAMES + 1)[1:]:
        lined = frame.copy()
        for rows, columns in boxes:
            width = columns.stop - columns.start
            end = columns.start + round(part * width)
            frame[rows, columns.start : end] = after_pixels[rows, columns.start : end]
            lined[rows, columns.start : end] = frame[rows, columns.start : end]
            lined[rows, max(columns.start, end - LINE_PIXELS) : end] = LINE
        yield lined
    yield frame


def save_animation(frames: list[np.ndarray], path: Path) -> None:
    """Write a GIF that is repeated for ever, with one palette for all of its frames."""
    extremes = Image.fromarray(np.concatenate([frames[0], frames[-1]]))
    palette = extremes.quantize(COLOURS, dither=Image.Dither.NONE)
    colours = np.array(palette.getpalette()).reshape(-1, 3)
    colours[colours.min(axis=-1) > NEARLY_WHITE] = 255
    palette.putpalette(np.append(colours, [LINE], axis=0).astype(np.uint8).tobytes())
    first, *others = (
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    )
    durations = [FIRST_MS, *[FRAME_MS] * (len(frames) - 2), LAST_MS]
    with atomic.replacing(path) as temporary:
        first.save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=durations,
            loop=0,
        )


def save_picture(figure: Figure, path: Path) -> None:
    """Write a PNG with a palette, which is a third as large as one without."""
    pixels, _ = rendered(figure)
    picture = Image.fromarray(pixels).quantize(PICTURE_COLOURS, dither=Image.Dither.NONE)
    with atomic.replacing(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def animate(examples: list[Example], panel: Panel, label: str, path: Path) -> None:
    """Write the animation of four examples being denoised."""
    before = state_figure(examples, panel, label, BEFORE, BEFORE)
    after = state_figure(examples, panel, label, NETWORK, AFTER)
    save_animation(list(sweep(before, after)), path)


def classes_figure() -> Figure:
    """A spectrogram and a waveform of the first recording of each class in noises/."""
    folders = sorted(path for path in (HERE / "noises").iterdir() if path.is_dir())
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    rows = figure.subplots(4, len(folders) // 2, height_ratios=(3, 1, 3, 1), squeeze=False)
    pairs = [(rows[top, k], rows[top + 1, k]) for top in (0, 2) for k in range(rows.shape[1])]
    for folder, (upper, lower) in zip(folders, pairs, strict=True):
        waveform, rate = audio_io.load_audio(sorted(folder.iterdir())[0])
        versions = {BEFORE: waveform, CLEAN: waveform}
        example = Example(folder.name, rate, versions)
        spectrogram_panel(upper, example, BEFORE)
        waveform_panel(lower, example, BEFORE)
        upper.set_title(example.title, fontsize=10)
        upper.tick_params(labelbottom=False)
        lower.set_yticks([])
    for row in rows[::2]:
        row[0].set_ylabel("frequency (kHz)")
    for axis in rows[-1]:
        axis.set_xlabel("time (s)")
    return figure


@dataclasses.dataclass(frozen=True)
class Flow:
    """What happens to one window of a recording.

    Args:
        rate: Hz, of the network.
        noisy, denoised: waveforms (samples,), at the level of the network.
        noisy_db, noise_db, clean_db: magnitudes and the network's estimate, dB, (bins, frames).
        phase: of the noisy window, radians, (bins, frames).
    """

    rate: int
    noisy: np.ndarray
    noisy_db: np.ndarray
    phase: np.ndarray
    noise_db: np.ndarray
    clean_db: np.ndarray
    denoised: np.ndarray


def prediction_flow() -> Flow:
    """One window of a recording on its way through the U-Net."""
    enhancer = Enhancer.load(FLOW_NETWORK)
    audio, features = enhancer.card.audio, enhancer.card.features
    recording, rate = audio_io.load_audio(HERE / "noisy" / f"{FLOW_EXAMPLE}.wav", audio.sample_rate)
    rms = np.array([dsp.active_rms(recording, rate)])
    recording = recording * levels.gains_to_level(rms, enhancer.card.level_dbfs)[0]
    begin = round(FLOW_BEGIN_S * audio.sample_rate)
    noisy = recording[np.newaxis, begin : begin + audio.frame_length].astype(np.float32)
    spectrogram = dsp.stft(noisy, audio)
    output = enhancer.network(features.network_input(spectrogram, audio))
    noise_db = output[0, ..., 0] * features.noise_scale_db + features.noise_offset_db
    _, clean = features.spectra(noisy, enhancer.network, audio)
    return Flow(
        rate=audio.sample_rate,
        noisy=noisy[0],
        noisy_db=dsp.spectrogram_to_db(spectrogram, features.floor_db)[0],
        phase=np.angle(spectrogram[0]),
        noise_db=noise_db,
        clean_db=dsp.spectrogram_to_db(clean, features.floor_db)[0],
        denoised=dsp.istft(clean, audio, audio.frame_length)[0],
    )


def flow_figure(flow: Flow) -> Figure:
    """The flow of prediction, from a noisy waveform to a denoised one, with arrows."""
    figure = Figure(figsize=(13, 6))
    grid = figure.add_gridspec(
        *(2, 4), left=0.055, right=0.945, top=0.84, bottom=0.09, hspace=0.62, wspace=0.85
    )
    noisy, magnitude, noise, clean = (figure.add_subplot(grid[0, k]) for k in range(4))
    phase, denoised = (figure.add_subplot(grid[1, k]) for k in (1, 3))
    seconds = len(flow.noisy) / flow.rate
    loudest = 1.05 * float(np.abs(flow.noisy).max())
    for axis, waveform, title in (
        (noisy, flow.noisy, "noisy waveform"),
        (denoised, flow.denoised, "denoised waveform"),
    ):
        axis.plot(np.arange(len(waveform)) / flow.rate, waveform, linewidth=0.5)
        axis.set(title=title, xlim=(0.0, seconds), ylim=(-loudest, loudest))
    highest = float(flow.noisy_db.max())
    magnitudes: dict[str, Any] = {"cmap": "magma", "vmin": highest - RANGE_DB, "vmax": highest}
    for axis, values, title, look in (
        (magnitude, flow.noisy_db, "noisy magnitude (dB)", magnitudes),
        (noise, flow.noise_db, "estimated noise (dB)", {"cmap": "magma", "vmin": 0.0}),
        (clean, flow.clean_db, "denoised magnitude (dB)", magnitudes),
        (phase, flow.phase, "phase (radians)", {"cmap": "twilight", "vmin": -np.pi, "vmax": np.pi}),
    ):
        extent = (0.0, seconds, 0.0, flow.rate / 2000)
        image = axis.imshow(values, origin="lower", aspect="auto", extent=extent, **look)
        figure.colorbar(image, cax=axis.inset_axes((1.03, 0.0, 0.05, 1.0)))
        axis.set_title(title)
    noisy.set_ylabel("amplitude")
    for axis in (magnitude, phase):
        axis.set_ylabel("frequency (kHz)")
    for axis in (noisy, phase, denoised):
        axis.set_xlabel("time (s)")
    right, left, below, above = (1.34, 0.5), (-0.22, 0.5), (0.5, -0.16), (0.5, 1.16)
    for begin, begin_at, end, end_at, text, curve in (
        (noisy, (1.05, 0.5), magnitude, (-0.33, 0.5), "STFT", 0.0),
        (noisy, (0.5, -0.28), phase, (-0.33, 0.5), "STFT", 0.35),
        (magnitude, right, noise, left, "U-Net", 0.0),
        (noise, right, clean, left, "subtract", 0.0),
        (magnitude, (0.5, 1.14), clean, (0.5, 1.14), "", -0.12),
        (clean, below, denoised, above, "inverse STFT", 0.0),
        (phase, right, denoised, (-0.3, 0.5), "inverse STFT", 0.0),
    ):
        add_arrow(figure, (begin, begin_at), (end, end_at), text, curve)
    return figure


def add_arrow(
    figure: Figure,
    begin: tuple[Axes, tuple[float, float]],
    end: tuple[Axes, tuple[float, float]],
    text: str,
    curve: float,
) -> None:
    """Draw an arrow between two panels, with a text above its middle.

    Args:
        figure: theirs.
        begin, end: a panel, and a place in it from (0, 0) to (1, 1).
        text: what is done.
        curve: how much the arrow is bent; 0 is straight.
    """
    (first, first_at), (second, second_at) = begin, end
    arrow = ConnectionPatch(
        *(first_at, second_at, first.transAxes, second.transAxes),
        arrowstyle="-|>",
        connectionstyle=f"arc3,rad={curve}",
        mutation_scale=14,
        linewidth=1.4,
        color="0.25",
    )
    figure.add_artist(arrow)
    points = [axis.transAxes.transform(at) for axis, at in (begin, end)]
    x, y = figure.transFigure.inverted().transform(np.mean(points, axis=0))
    is_level = abs(points[0][1] - points[1][1]) < abs(points[0][0] - points[1][0])
    place: dict[str, Any] = (
        {"ha": "center", "va": "bottom"} if is_level else {"ha": "left", "va": "center"}
    )
    figure.text(x + (0.0 if is_level else 0.008), y + 0.012 * is_level, text, fontsize=9, **place)


def execute(path: Path) -> None:
    """Execute a notebook and write it with its outputs, and without what differs between runs."""
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    metadata = dict(notebook.metadata)
    nbclient.NotebookClient(
        notebook,
        timeout=NOTEBOOK_TIMEOUT_S,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    notebook.metadata = nbformat.from_dict(metadata)
    with atomic.replacing(path) as temporary:
        nbformat.write(notebook, temporary)


def main(folder: Path | None = None) -> None:
    """Write all pictures to `folder`, or those of the documentation and the notebook.

    Raises:
        UserError: the folder cannot be written.
    """
    if folder is None:
        execute(NOTEBOOK)
    folder = folder or PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    examples = load_examples()
    for panel, label, name in (
        (spectrogram_panel, "frequency (kHz)", "spectrograms"),
        (waveform_panel, "amplitude", "waveforms"),
    ):
        animate(examples, panel, label, folder / f"{name}.gif")
        figure = examples_figure(examples, panel, label)
        save_picture(figure, folder / f"{name}.png")
    save_picture(classes_figure(), folder / "noise_classes.png")
    save_picture(flow_figure(prediction_flow()), folder / "prediction_flow.png")
    for example in examples:
        path = folder / f"{example.name}_denoised.wav"
        audio_io.save_audio(path, example.versions[NETWORK], example.rate, subtype="PCM_16")


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:2]))
    except UserError as error:
        sys.exit(f"error: {error}")
