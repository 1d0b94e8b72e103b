"""The technical condition of one recording, measured without a clean one.

All functions take float (samples,) in -1..1 and a rate in Hz, and `condition` gives all of it by
name. Levels are in dBFS, the root mean square re 1.0, so that a full-scale sine has -3 dBFS.
"""

from __future__ import annotations

import numpy as np
import scipy.signal

from speech_enhancement.scoring.frames import check_alone, check_length
from speech_enhancement.signal import dsp

LOWEST_DBFS = -120.0
HIGHEST_SNR_DB = 60.0
QUIET_PERCENT = 10
# Of ITU-T P.56, method B; its thresholds are 6 dB apart, and finer ones need no search.
ENVELOPE_S, HANGOVER_S, MARGIN_DB = 0.03, 0.2, 15.9
THRESHOLDS_DB = np.arange(0.0, LOWEST_DBFS, -2.0)
MAINS_HZ = (50.0, 60.0)
N_HARMONICS, N_STRONGEST = 10, 3
N_LOWEST, SINGLE_TONE_DB = 2, 10.0
HUM_WINDOW_S = 1.0
TONE_HZ, NEIGHBOURHOOD_HZ = 2.0, 15.0
QUIETEST_TONE_DBFS = -80.0
CLIPPED_RUN = 3
SAMPLE_STEP = 2.0**-15
LOWEST_CLIPPED_PEAK = 0.01  # beneath, the steps of 16 bits make flat tops of their own
BAND_HZ, BAND_RANGE_DB, QUIETEST_BAND_DBFS = 20.0, 60.0, -110.0
LEAST_BAND_RANGE_DB = 40.0


def condition(waveform: np.ndarray, rate: int) -> dict[str, float]:
    """Everything that this module measures.

    Returns:
        `noise_floor_dbfs`, `speech_level_dbfs`, `snr_estimate_db`, `clipping_percent` and
        `offset_percent`; `bandwidth_hz` if the recording is loud enough, and `hum_db` if it is
        long enough.

    Raises:
        Unscorable: the recording has no sound beside a constant offset, or is shorter than 0.25 s.
    """
    check_alone(waveform)
    check_length(waveform, rate)
    recorded = waveform.astype(np.float64)
    offset = float(recorded.mean())
    waveform = recorded - offset  # which nobody hears
    check_alone(waveform)
    floor_dbfs = noise_floor(waveform[_sounding(recorded)], rate)
    level_dbfs = speech_level(waveform, rate)
    measures = {
        "noise_floor_dbfs": floor_dbfs,
        "speech_level_dbfs": level_dbfs,
        "snr_estimate_db": snr_estimate(level_dbfs, floor_dbfs),
        "clipping_percent": clipping(recorded),
        "offset_percent": 100.0 * abs(offset),
        "bandwidth_hz": bandwidth(waveform, rate),
        "hum_db": hum(waveform, rate),
    }
    return {name: value for name, value in measures.items() if value is not None}


def _sounding(waveform: np.ndarray) -> slice:
    """The part between digital silence at the beginning and at the end, which is no pause."""
    changes = np.flatnonzero(np.diff(waveform))
    return slice(int(changes[0]), int(changes[-1]) + 2)


def noise_floor(waveform: np.ndarray, rate: int) -> float:
    """Level that a tenth of all frames of 20 ms do not exceed, dBFS.

    It is the level of a steady noise if the speech pauses for a tenth of the time.
    """
    return _decibels(float(np.percentile(dsp.activity(waveform, rate), QUIET_PERCENT)))


def speech_level(waveform: np.ndarray, rate: int) -> float:
    """Active speech level, dBFS: the level without pauses of more than 0.2 s.

    A frame counts if the envelope is within 15.9 dB of the level that results.

    Reference:
        ITU-T P.56 (2011), method B.
    """
    envelope = np.abs(waveform)
    decay = np.exp(-1.0 / (rate * ENVELOPE_S))
    for _ in range(2):
        envelope = scipy.signal.lfilter([1.0 - decay], [1.0, -decay], envelope)
    energy, hangover = float(waveform @ waveform), round(HANGOVER_S * rate)
    margins, levels = [], []
    loudest_db = _decibels(float(envelope.max()) ** 2)
    for threshold_db in (each for each in THRESHOLDS_DB if each < loudest_db):
        above = np.flatnonzero(envelope >= 10.0 ** (threshold_db / 20.0))
        n_active = np.minimum(np.diff(above, append=len(waveform)), hangover).sum()
        levels.append(_decibels(energy / n_active))
        margins.append(levels[-1] - threshold_db)
    if not levels or margins[0] > MARGIN_DB:  # too short for the envelope to rise
        return _decibels(energy / len(waveform))
    return float(np.interp(MARGIN_DB, np.maximum.accumulate(margins), levels))


def snr_estimate(speech_level_dbfs: float, noise_floor_dbfs: float) -> float:
    """Signal-to-noise ratio, 0..60 dB, if the noise between words is that beneath them.

    Args:
        speech_level_dbfs: level of speech and noise where there is speech.
        noise_floor_dbfs: level of the noise alone.
    """
    both, noise = (10.0 ** (level / 10.0) for level in (speech_level_dbfs, noise_floor_dbfs))
    ratio = max(both - noise, noise) / noise
    return min(float(10.0 * np.log10(ratio)), HIGHEST_SNR_DB)


def hum(waveform: np.ndarray, rate: int) -> float | None:
    """How far mains hum stands out, dB: tones at 50 or 60 Hz and the next nine multiples.

    A tone is compared with the median of the spectrum up to 15 Hz beside it. The result is the mean
    of the three that stand out most, for the mains frequency that gives more. One tone alone, as
    of a rectifier, counts if it is one of the lowest two, by 10 dB less, since other sounds may
    have such a tone. Spectra of 1 s are merged by their median, so that voices, which are never
    steady for so long, do not count; nor does anything below -80 dBFS.

    Returns:
        None if there is less than 2 s.
    """
    length = round(HUM_WINDOW_S * rate)
    if len(waveform) < 2 * length:
        return None
    frequencies, power = scipy.signal.welch(
        waveform, rate, "hann", length, scaling="spectrum", average="median"
    )
    excesses = [
        [_excess(frequencies, power, mains_hz * (n + 1)) for n in range(N_HARMONICS)]
        for mains_hz in MAINS_HZ
    ]
    return max(
        max(float(np.mean(sorted(each)[-N_STRONGEST:])), max(each[:N_LOWEST]) - SINGLE_TONE_DB)
        for each in excesses
    )


def _excess(frequencies: np.ndarray, power: np.ndarray, tone_hz: float) -> float:
    """How far the spectrum at a frequency is above that beside it, dB, at least 0."""
    if tone_hz + TONE_HZ > frequencies[-1]:
        return 0.0
    distance = np.abs(frequencies - tone_hz)
    tone = power[distance <= TONE_HZ].max()
    beside = np.median(power[(distance > TONE_HZ) & (distance <= NEIGHBOURHOOD_HZ)])
    lowest = 10.0 ** (QUIETEST_TONE_DBFS / 10.0)
    return max(_decibels(max(tone, lowest)) - _decibels(max(beside, lowest)), 0.0)


def clipping(waveform: np.ndarray) -> float:
    """Share of the samples that are clipped, percent.

    Those are runs of three or more samples at the highest or the lowest value of the recording,
    give or take a step of 16 bits, or beyond full scale, as float files and MP3 have them. At
    another rate than its own, a recording shows no flat tops.
    """
    clipped = 0
    for sound in (waveform, -waveform):
        highest = min(float(sound.max()), 1.0)
        if highest > LOWEST_CLIPPED_PEAK:
            at_peak = np.concatenate([[False], sound >= highest - SAMPLE_STEP, [False]])
            begins, ends = np.flatnonzero(np.diff(at_peak.astype(np.int8))).reshape(-1, 2).T
            runs = ends - begins
            clipped += int(runs[runs >= CLIPPED_RUN].sum())
    return 100.0 * clipped / len(waveform)


def bandwidth(waveform: np.ndarray, rate: int) -> float | None:
    """Highest frequency of the sound, Hz, in steps of 20 Hz.

    That is the upper edge of the last band of 20 Hz whose power is within 60 dB of that of the
    loudest one, and above -110 dBFS.

    Returns:
        None if the loudest band is less than 40 dB above that limit.
    """
    length = min(round(rate / BAND_HZ), len(waveform))
    _, power = scipy.signal.welch(waveform, rate, "hann", length, scaling="spectrum")
    loudest_db = _decibels(float(power.max()))
    if loudest_db < QUIETEST_BAND_DBFS + LEAST_BAND_RANGE_DB:
        return None
    lowest = 10.0 ** (max(loudest_db - BAND_RANGE_DB, QUIETEST_BAND_DBFS) / 10.0)
    filled = np.flatnonzero(power > lowest)
    return float(min(filled[-1] * rate / length, rate / 2.0))


def _decibels(power: float) -> float:
    """Decibels of a power, never below `LOWEST_DBFS`."""
    return float(10.0 * np.log10(max(power, 10.0 ** (LOWEST_DBFS / 10.0))))
