"""Every metric against a value that another program, a formula or a standard gives."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from speech_enhancement import registry
from speech_enhancement.errors import UserError
from speech_enhancement.scoring import composite, metrics
from speech_enhancement.scoring import dnsmos as metrics_dnsmos
from speech_enhancement.scoring.frames import Unscorable, speech_frames
from speech_enhancement.signal import dsp

RATE = 16000
PAIR_METRICS = sorted(set(registry.METRICS) - set(registry.REFERENCE_FREE))


@pytest.fixture(scope="module")
def clean(speech):
    return speech(RATE, 2.0)


@pytest.fixture
def noisy(clean, rng):
    return clean + 0.02 * rng.standard_normal(len(clean)).astype(np.float32)


def metric(name):
    return registry.resolve(registry.METRICS, "metrics", name)


def test_pesq_of_equal_sound_is_the_top_of_the_standards_scales(clean):
    wide_band_top = 0.999 + 4.0 / (1.0 + np.exp(-1.3669 * 4.5 + 3.8224))  # P.862.2
    narrow_band_top = 0.999 + 4.0 / (1.0 + np.exp(-1.4945 * 4.5 + 4.6607))  # P.862.1
    assert metrics.pesq_wb(clean, clean, RATE) == pytest.approx(wide_band_top, abs=1e-3)
    assert metrics.pesq_nb(clean, clean, RATE) == pytest.approx(narrow_band_top, abs=1e-3)


def test_pesq_is_the_librarys_and_falls_with_noise(clean, noisy):
    import pesq

    assert metrics.pesq_wb(clean, noisy, RATE) == pytest.approx(pesq.pesq(RATE, clean, noisy, "wb"))
    noisier = 2.0 * noisy - clean
    assert metrics.pesq_wb(clean, noisier, RATE) < metrics.pesq_wb(clean, noisy, RATE)


def test_pesq_of_long_sound_is_the_mean_of_its_pieces(clean, noisy):
    long_clean, long_noisy = np.tile(clean, 12), np.tile(noisy, 12)  # 24 s: two pieces of 12 s
    piece = metrics.pesq_wb(long_clean[: 12 * RATE], long_noisy[: 12 * RATE], RATE)
    assert metrics.pesq_wb(long_clean, long_noisy, RATE) == pytest.approx(piece, abs=1e-6)


def test_pesq_survives_more_utterances_than_its_tables_hold(rng):
    burst = np.r_[0.2 * rng.standard_normal(3600), np.zeros(3600)].astype(np.float32)
    clean = np.tile(burst, 120)  # 54 s
    noisy = clean + 0.01 * rng.standard_normal(len(clean)).astype(np.float32)
    assert 1.0 < metrics.pesq_wb(clean, noisy, RATE) < 4.65


def test_other_rates_are_brought_to_one_that_pesq_knows(clean, noisy):
    upsampled = (dsp.resample(sound, RATE, 48000) for sound in (clean, noisy))
    assert metrics.pesq_wb(*upsampled, 48000) == pytest.approx(
        metrics.pesq_wb(clean, noisy, RATE), abs=0.02
    )


def test_wide_band_needs_the_wide_band(speech):
    telephone = speech(8000, 1.0)
    with pytest.raises(Unscorable, match="16000 Hz or more, not 8000"):
        metrics.pesq_wb(telephone, telephone, 8000)
    assert metrics.pesq_nb(telephone, telephone, 8000) > 4.5


def test_pesq_grades_every_rate_on_one_scale(clean, noisy, speech):
    assert metrics.pesq(clean, noisy, RATE) == metrics.pesq_wb(clean, noisy, RATE)
    telephone = speech(8000, 1.0)
    assert metrics.pesq(telephone, telephone, 8000) == pytest.approx(4.55, abs=0.01)


def reference_stoi(clean, estimate, extended):
    """The published formulas, band by band and segment by segment, at 10 kHz without pauses."""
    starts = range(0, len(clean) - 256, 128)
    window = scipy.signal.windows.hann(258)[1:-1]
    frequencies = np.fft.rfftfreq(512, 1e-4)

    def envelopes(sound):
        power = np.array(
            [np.abs(np.fft.rfft(window * sound[s : s + 256], 512)) ** 2 for s in starts]
        )
        bands = []
        for band in range(15):
            edges = [150.0 * 2.0 ** ((2 * band + side) / 6.0) for side in (-1, 1)]
            low, high = (np.argmin((frequencies - edge) ** 2) for edge in edges)
            bands.append(np.sqrt(power[:, low:high].sum(axis=1)))
        return np.array(bands)

    x, y = envelopes(clean), envelopes(estimate)
    scores = []
    for end in range(30, x.shape[1] + 1):
        a, b = x[:, end - 30 : end], y[:, end - 30 : end]
        if extended:
            for axis in (1, 0):
                a, b = (each - each.mean(axis=axis, keepdims=True) for each in (a, b))
                a, b = (each / np.linalg.norm(each, axis=axis, keepdims=True) for each in (a, b))
            scores.append((a * b).sum() / 30)
            continue
        for row, other in zip(a, b, strict=True):
            scaled = other * np.linalg.norm(row) / np.linalg.norm(other)
            clipped = np.minimum(scaled, row * (1.0 + 10.0 ** (15.0 / 20.0)))
            scores.append(np.corrcoef(row, clipped)[0, 1])
    return np.mean(scores)


@pytest.mark.parametrize(("name", "extended"), [("stoi", False), ("estoi", True)])
def test_stoi_is_the_published_formula(rng, name, extended):
    envelope = 1.0 + 0.9 * np.sin(2.0 * np.pi * 3.0 * np.arange(20000) / 10000.0)
    clean = envelope * rng.standard_normal(20000)
    noisy = clean + 0.8 * rng.standard_normal(20000)
    expected = reference_stoi(clean, noisy, extended)
    assert metric(name)(clean, noisy, 10000) == pytest.approx(expected, abs=5e-3)
    assert metric(name)(clean, clean, 10000) == pytest.approx(1.0, abs=1e-6)


@given(st.floats(-20.0, 40.0), st.floats(0.01, 100.0))
def test_si_sdr_of_orthogonal_noise_is_its_level_whatever_the_gain(ratio_db, gain):
    time = np.arange(RATE) / RATE
    clean, noise = np.sin(2.0 * np.pi * 440.0 * time), np.sin(2.0 * np.pi * 1000.0 * time)
    estimate = gain * (clean + 10.0 ** (-ratio_db / 20.0) * noise)
    assert metrics.si_sdr(clean, estimate, RATE) == pytest.approx(ratio_db, abs=1e-6)


def test_si_sdr_of_a_constant_cannot_be_had():
    sound = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    for pair in ((np.full_like(sound, 0.3), sound), (sound, np.full_like(sound, 0.3))):
        with pytest.raises(Unscorable, match="silent"):
            metrics.si_sdr(*pair, RATE)


@given(st.floats(-30.0, 60.0))
def test_segmental_snr_of_proportional_noise_is_its_level_within_the_limits(ratio_db):
    clean = np.random.default_rng(0).standard_normal(RATE)
    estimate = clean * (1.0 + 10.0 ** (-ratio_db / 20.0))
    expected = np.clip(ratio_db, -10.0, 35.0)
    assert metrics.segmental_snr(clean, estimate, RATE) == pytest.approx(expected, abs=1e-6)


def test_log_spectral_distance_of_a_gain_is_the_gain(rng):
    clean = 0.1 * rng.standard_normal(RATE)
    assert metrics.log_spectral_distance(clean, 2.0 * clean, RATE) == pytest.approx(
        6.0206, abs=0.01
    )


def test_llr_is_the_ratio_of_prediction_errors(clean, noisy, rng):
    clean = clean + 1e-3 * rng.standard_normal(len(clean))  # no frame is silent
    ratios = []
    pairs = zip(speech_frames(clean, RATE), speech_frames(noisy, RATE), strict=True)
    for frame, other in pairs:
        lags, other_lags = (
            np.correlate(each, each, "full")[len(each) - 1 :][:17] for each in (frame, other)
        )
        matrix = scipy.linalg.toeplitz(lags)
        errors = []
        for each in (lags, other_lags):
            each = each + np.r_[2.2e-16, np.zeros(16)]
            predictor = np.r_[1.0, -scipy.linalg.solve_toeplitz(each[:-1], each[1:])]
            errors.append(predictor @ matrix @ predictor)
        ratios.append(np.log(errors[1] / errors[0]))
    expected = np.sort(ratios)[: round(0.95 * len(ratios))].mean()
    got = composite.log_likelihood_ratio(clean, noisy, RATE)
    assert got == pytest.approx(expected, rel=1e-3)


def reference_wss(clean, noisy):
    """Klatt's measure as its program walks it: frame by frame, band by band."""
    distances = []
    for pair in zip(*(composite.band_energies(x, RATE) for x in (clean, noisy)), strict=True):
        slopes, weights = [], []
        for energy in pair:
            slope = [energy[i + 1] - energy[i] for i in range(24)]
            weight = []
            for i in range(24):
                n = i
                if slope[i] > 0:
                    while n < 24 and slope[n] > 0:
                        n += 1
                    peak = energy[n - 1]
                else:
                    while n >= 0 and slope[n] <= 0:
                        n -= 1
                    peak = energy[n + 1]
                to_maximum = 20.0 / (20.0 + max(energy) - energy[i])
                weight.append(to_maximum * 1.0 / (1.0 + peak - energy[i]))
            slopes.append(np.array(slope))
            weights.append(np.array(weight))
        weight = (weights[0] + weights[1]) / 2.0
        distances.append((weight * (slopes[0] - slopes[1]) ** 2).sum() / weight.sum())
    return np.sort(distances)[: round(0.95 * len(distances))].mean()


def test_wss_is_klatts_walk_over_the_bands(clean, noisy):
    got = composite.weighted_spectral_slope(clean, noisy, RATE)
    assert got == pytest.approx(reference_wss(clean, noisy), rel=1e-9)


def test_band_filters_are_centred_and_of_klatts_bandwidth():
    filters = composite.band_filters(2048, RATE)
    hz = np.arange(1024) * RATE / 2048
    for row, centre in zip(filters, composite.BAND_CENTRES_HZ, strict=True):
        assert hz[row.argmax()] == pytest.approx(centre, abs=RATE / 2048)
    assert filters.shape == (25, 1024)


def test_composite_of_equal_sound_is_the_regressions_constants(clean):
    top = metrics.pesq_wb(clean, clean, RATE)
    scores = metrics.composite(clean, clean, RATE)
    assert scores["csig"] == 5.0  # 3.093 + 0.603 * 4.644 is above the scale
    assert scores["cbak"] == pytest.approx(min(5.0, 1.634 + 0.478 * top + 0.063 * 35.0))
    assert scores["covl"] == 5.0


def test_composite_joins_its_parts_with_the_published_weights(clean, noisy):
    llr = composite.log_likelihood_ratio(clean, noisy, RATE)
    wss = composite.weighted_spectral_slope(clean, noisy, RATE)
    expected = 3.093 - 1.029 * llr + 0.603 * 2.0 - 0.009 * wss
    got = composite.composite(clean, noisy, RATE, pesq=2.0)
    assert got["csig"] == pytest.approx(np.clip(expected, 1.0, 5.0))


@pytest.mark.parametrize("seconds", [4.6, 10.5])
def test_dnsmos_is_what_its_authors_package_says(speech, seconds):
    from speechmos import dnsmos

    sound = speech(RATE, seconds)
    expected = dnsmos.run(sound, RATE)
    got = metrics.dnsmos(sound, sound, RATE)
    assert got["dnsmos_sig"] == pytest.approx(expected["sig_mos"], abs=1e-4)
    assert got["dnsmos_bak"] == pytest.approx(expected["bak_mos"], abs=1e-4)
    assert got["dnsmos_ovrl"] == pytest.approx(expected["ovrl_mos"], abs=1e-4)
    assert got["dnsmos_p808"] == pytest.approx(expected["p808_mos"], abs=1e-3)


def test_missing_packages_are_named(monkeypatch, clean):
    monkeypatch.setattr(metrics_dnsmos.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="Scores need speechmos: run `pip install"):
        metrics_dnsmos._network_path(metrics_dnsmos.P835)
    monkeypatch.setitem(sys.modules, "pystoi", None)
    with pytest.raises(UserError, match="Scores need pystoi: run `pip install"):
        metrics.stoi(clean, clean, RATE)


def test_structural_similarity_is_the_published_formula(rng):
    first = rng.random((24, 30))
    second = np.clip(first + 0.2 * rng.standard_normal(first.shape), 0.0, 1.0)
    axis = np.arange(-5, 6)
    kernel = np.exp(-np.add.outer(axis**2, axis**2) / (2 * 1.5**2))
    kernel /= kernel.sum()

    def local(picture):
        return scipy.signal.convolve2d(picture, kernel, "valid")

    m1, m2 = local(first), local(second)
    v1, v2 = local(first**2) - m1**2, local(second**2) - m2**2
    cov = local(first * second) - m1 * m2
    ssim = (2 * m1 * m2 + 1e-4) * (2 * cov + 9e-4)
    ssim /= (m1**2 + m2**2 + 1e-4) * (v1 + v2 + 9e-4)
    assert metrics.structural_similarity(first, second) == pytest.approx(ssim.mean(), abs=1e-12)


def test_spectrogram_mse_of_half_the_amplitude(rng):
    clean = 0.1 * rng.standard_normal(RATE)
    scores = metrics.spectrogram_similarity(clean, 0.5 * clean, RATE)
    magnitude = np.abs(dsp.stft(clean, metrics._spectrogram_config(RATE)))
    expected = np.square(0.5 * magnitude / magnitude.max()).mean()
    assert scores["spectrogram_mse"] == pytest.approx(expected, rel=1e-4)
    assert metrics.spectrogram_similarity(clean, clean, RATE) == {
        "spectrogram_mse": 0.0,
        "spectrogram_ssim": pytest.approx(1.0),
    }


@pytest.mark.parametrize("name", PAIR_METRICS)
def test_silence_is_refused_and_never_a_number(name, clean):
    silence = np.zeros_like(clean)
    for pair in ((silence, clean), (clean, silence)):
        with pytest.raises(Unscorable, match="silent"):
            metric(name)(*pair, RATE)


@pytest.mark.parametrize("name", ["pesq_wb", "pesq_nb", "stoi", "estoi", "composite"])
def test_what_is_too_short_is_refused(name, clean):
    with pytest.raises(Unscorable, match=r"short|less than"):
        metric(name)(clean[1000:1300], clean[1000:1300], RATE)


@pytest.mark.parametrize("name", PAIR_METRICS)
def test_nan_and_unequal_lengths_are_refused(name, clean):
    broken = clean.copy()
    broken[7] = np.nan
    with pytest.raises(Unscorable, match="NaN"):
        metric(name)(clean, broken, RATE)
    with pytest.raises(ValueError, match="one and the same"):
        metric(name)(clean, clean[:-1], RATE)
