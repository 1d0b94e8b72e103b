"""How near an exported network comes to the one in Keras, on real recordings, and what it costs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speech_enhancement.errors import UserError
from speech_enhancement.files import audio_io
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.scoring import metrics
from speech_enhancement.scoring.frames import Unscorable
from speech_enhancement.signal import dsp
from speech_enhancement.signal.features import Network

REPEATS = 3
LEVEL_DBFS = -25.0  # where a network was trained at all levels
STREAM_S = 10


@dataclasses.dataclass(frozen=True)
class RealSound:
    """Recordings, and a network's input for them.

    Args:
        card: of the network.
        waveforms: float32 (windows, samples); all of the sound in one for a network that streams.
        inputs: what the network is given for them.
    """

    card: ModelCard
    waveforms: np.ndarray
    inputs: np.ndarray

    @classmethod
    def load(cls, card: ModelCard, paths: Sequence[Path]) -> RealSound:
        """Read recordings at a network's rate and level, and cut them into its windows.

        Raises:
            UserError: there are none, or one cannot be read.
        """
        if not paths:
            raise UserError("There are no recordings to compare exported networks on")
        rate, length = card.audio.sample_rate, card.audio.frame_length
        sound = np.concatenate([_at_level(path, card) for path in paths])
        n_windows = max(1, len(sound) // length)
        waveforms = np.resize(sound, (n_windows, length))
        if card.streaming:
            waveforms = waveforms[: max(1, STREAM_S * rate // length)].reshape(1, -1)
        if card.features.representation == "waveform":
            return cls(card, waveforms, waveforms[..., np.newaxis])
        return cls(card, waveforms, card.features.encode(dsp.stft(waveforms, card.audio)))

    @property
    def seconds(self) -> float:
        """Duration of all recordings, s."""
        return self.waveforms.size / self.card.audio.sample_rate

    def denoise(self, network: Network) -> np.ndarray:
        """The sound (samples,) that a network makes of it."""
        return self.card.features.denoise(self.waveforms, network, self.card.audio).reshape(-1)


def _at_level(path: Path, card: ModelCard) -> np.ndarray:
    """A recording (samples,) at the rate and level that a network was trained at."""
    sound, rate = audio_io.load_audio(path, card.audio.sample_rate)
    wanted = LEVEL_DBFS if card.level_dbfs is None else card.level_dbfs
    level = max(dsp.active_rms(sound, rate), dsp.TINY)
    return sound * np.float32(dsp.db_to_amplitude(wanted) / level)


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far one sound is from another.

    Args:
        si_sdr_db: of the second, the first taken as clean, dB.
        max_abs: largest difference of a sample, full scale.
    """

    si_sdr_db: float
    max_abs: float


def difference(wanted: np.ndarray, got: np.ndarray, rate: int) -> Difference:
    """Compare two sounds (samples,).

    Raises:
        UserError: the second is not all numbers, or nothing but silence.
    """
    if got.shape != wanted.shape or not np.isfinite(got).all():
        raise UserError("its output has another length, or NaN or infinite samples")
    try:
        si_sdr_db = metrics.si_sdr(wanted, got, rate)
    except Unscorable as error:
        raise UserError(f"its output cannot be compared: {error}") from error
    return Difference(si_sdr_db, float(np.abs(wanted - got).max()))


def milliseconds_per_second(network: Network, sound: RealSound) -> float:
    """Processor time of a network for a second of sound, ms; the fastest of some runs.

    Windows, or frames of a network that streams, are handed in one at a time, as in live use.
    Processor time is that of the clock where one thread has a processor of its own.
    """
    batches = [sound.inputs[k : k + 1] for k in range(len(sound.inputs))]
    times = []
    for _ in range(REPEATS):
        begin = time.process_time()
        for batch in batches:
            network(batch)
        times.append(time.process_time() - begin)
    return 1000.0 * min(times) / sound.seconds
