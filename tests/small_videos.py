"""Sound in containers, by codecs that PyAV writes."""

import fractions

import numpy as np
import pytest


def write_sound(path, codec, rate, delay_s=None, levels=(0.2,), picture_delay_s=0.0):
    """Write a second of tones of some RMS levels, one a track, beside a picture if delayed."""
    av = pytest.importorskip("av")
    tone = np.sqrt(2.0) * np.sin(2.0 * np.pi * 440.0 * np.arange(rate) / rate)
    with av.open(str(path), "w") as container:
        video = None if delay_s is None else container.add_stream("mpeg4", rate=5)
        sounds = [container.add_stream(codec, rate=rate, layout="mono") for _ in levels]
        if video:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for k in range(5):
                frame = av.VideoFrame(64, 48, "yuv420p")
                frame.pts, frame.time_base = (
                    k + round(5 * picture_delay_s),
                    fractions.Fraction(1, 5),
                )
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        for stream, level in zip(sounds, levels, strict=True):
            samples = np.round(32767 * level * tone).astype(np.int16)[np.newaxis]
            frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            frame.rate, frame.pts = rate, round((delay_s or 0.0) * rate)
            resampler = av.AudioResampler(stream.format, "mono", rate, stream.frame_size or None)
            for part in (*resampler.resample(frame), *resampler.resample(None), None):
                container.mux(stream.encode(part))
