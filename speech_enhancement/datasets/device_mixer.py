"""Mixtures drawn on an accelerator, inside of a compiled program: one function of a random key.

They are those of `mixing.mixer.Mixer`, by the same recipe, from the same recordings, with the same
probabilities, but not from the same random numbers. Three things differ, so that all mixtures can
be drawn at once and in the accelerator's memory: what the host computes anew for each mixture comes
out of a few minutes of it (see `device_pools`), voices in a babble may be that of the mixture, and
no mixture goes through a codec.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from speech_enhancement.datasets import device_pools
from speech_enhancement.datasets import device_signals as signals
from speech_enhancement.datasets.device_pools import KINDS
from speech_enhancement.datasets.device_signals import Draws, amplitude
from speech_enhancement.mixing import augment, mixer
from speech_enhancement.mixing.mixer import Mixer

Array = Any  # a `jax.Array`
Pools = dict[str, Any]


class DeviceMixer:
    """Draws the mixtures of a host's mixer in `jax.numpy`.

    Args:
        host: whose recordings, geometry and recipe are used.
        by_products: see `device_signals.Transform`; on CPUs by default.

    Attributes:
        pools: what mixtures are drawn from, nested dictionaries of numpy arrays.
    """

    def __init__(self, host: Mixer, by_products: bool | None = None) -> None:
        self.audio = host.audio
        self.config = host.config
        self.rate = host.audio.sample_rate
        self.length = host.audio.frame_length
        self.pools = device_pools.build(host)
        self.crop_length = device_pools.longest_crop(host)
        self._one_by_one = jax.default_backend() == "cpu"
        if by_products is None:
            by_products = self._one_by_one
        longest = self.pools["rooms"].shape[-1]
        ringing = max(longest, self.rate // 20)
        self.transform = signals.Transform(self.length + ringing, self.rate, by_products)
        rooms = np.fft.rfft(self.pools["rooms"], self.transform.n_fft)
        self.pools["rooms"] = rooms.astype(np.complex64)

    @property
    def n_bytes(self) -> int:
        """Memory that the pools take."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self.pools))

    def batch(self, pools: Pools, keys: Array) -> tuple[Array, Array]:
        """Noisy and clean windows, float32 (batch, frame_length), twice.

        Args:
            pools: `self.pools`, on the device; an argument, so that no program contains them.
            keys: uint32 (batch, 2), one for each mixture; the same key gives the same mixture.
        """

        def draw(key: Array) -> tuple[Array, Array]:
            return self.draw(pools, jax.random.wrap_key_data(key))

        # One after the other, processors can leave out what does not happen; see `_changed`.
        return jax.lax.map(draw, keys) if self._one_by_one else jax.vmap(draw)(keys)

    def draw(self, pools: Pools, key: Array) -> tuple[Array, Array]:
        """One mixture: noisy and clean, float32 (frame_length,) each."""
        config, draws = self.config, Draws(key)
        kind = draws.uniform()
        sound, target, drop_db = self._voice(pools, draws)
        noise = self._noise(pools, draws)
        snr_db = self._snr_db(draws, kind - config.noise_only_probability)
        if config.turn_probability:
            least_db = drop_db + draws.uniform(*mixer.SNR_OF_SOFT_VOICE_DB)
            snr_db = jnp.where(drop_db > 0.0, jnp.maximum(snr_db, least_db), snr_db)
        gain = self._level(target) / self._level(noise) * amplitude(-snr_db)
        noise_only = kind < config.noise_only_probability
        noisy = jnp.where(noise_only, noise, sound + gain * noise)
        clean = jnp.where(noise_only, 0.0, target)
        noisy = self._disturbed(pools, draws, noisy)
        return self._degraded(pools, draws, *self._at_level(draws, noisy, clean))

    def _level(self, waveform: Array) -> Array:
        """RMS of the active frames, above zero."""
        return signals.active_rms(waveform, self.rate)

    def _snr_db(self, draws: Draws, kind: Array) -> Array:
        """See `Mixer._draw_snr_db`."""
        config = self.config
        light = kind < config.clean_only_probability + config.light_noise_probability
        snr_db = jnp.where(
            light, draws.uniform(*config.light_noise_snr_db), draws.uniform(*config.snr_db)
        )
        return jnp.where(kind < config.clean_only_probability, config.clean_only_snr_db, snr_db)

    def _voice(self, pools: Pools, draws: Draws) -> tuple[Array, Array, Array]:
        """Sound, target and drop of a voice; see `Mixer.draw_voice`."""
        config = self.config
        factor = self._factor(draws, config.speed_probability, config.speed)
        voice = self._crop(pools["voice"], draws, 0, factor)
        if config.whisper_probability:
            whispers = draws.chance(config.whisper_probability)
            voice = _changed(whispers, lambda v: signals.whispered(v, self.rate, draws), voice)
        drop_db = jnp.zeros(())
        if config.turn_probability:
            turns = draws.chance(config.turn_probability)
            voice, drop_db = _changed(
                turns, lambda pair: self._with_turn(pools, draws, pair[0]), (voice, drop_db)
            )
        has_gap = draws.chance(config.gap_probability)
        voice = _changed(has_gap, lambda v: self._with_gap(draws, v), voice)
        rooms = pools["rooms"]
        chosen = 1 + (draws.uniform() * (len(rooms) - 1)).astype(jnp.int32)
        chosen = jnp.where(draws.chance(config.reverb_probability), chosen, 0)
        is_coloured = draws.chance(config.equalise_probability)

        def filtered(pair: tuple[Array, Array]) -> tuple[Array, Array]:
            colour = jnp.where(is_coloured, self._colour(draws), 1.0)
            spectrum = self.transform.forward(pair[0]) * colour
            if config.voice_low_cut_hz:
                spectrum = spectrum * augment.low_cut(
                    self.transform.frequency, config.voice_low_cut_hz, augment.RUMBLE_EDGE_ORDER
                ).astype(np.float32)
            sound = self.transform.inverse(spectrum * rooms[chosen, 0], self.length)
            return sound, _changed(
                chosen > 0,
                lambda _: self.transform.inverse(spectrum * rooms[chosen, 1], self.length),
                sound,
            )

        is_filtered = (chosen > 0) | is_coloured | bool(config.voice_low_cut_hz)
        sound, target = _changed(is_filtered, filtered, (voice, voice))
        return sound, target, drop_db

    def _factor(self, draws: Draws, probability: float, limits: tuple[float, float]) -> Array:
        """A random speed with some probability, and 1 otherwise."""
        return jnp.where(draws.chance(probability), draws.uniform(*limits), 1.0)

    def _crop(self, streams: Pools, draws: Draws, kind: Any, factor: Array | None) -> Array:
        """A window of a random stream of a kind, at a speed; silent places avoided."""
        u = draws.uniform() * (1.0 - 1e-6)
        stream = jnp.searchsorted(streams["cumulative"][kind], u, side="right")
        length = self.length if factor is None else self.crop_length
        spare = (streams["length"][stream] - length).astype(jnp.float32)
        attempts = draws.uniforms(mixer.CROP_ATTEMPTS)
        starts = streams["start"][stream] + (attempts * spare).astype(jnp.int32)
        gain = streams["gain"][stream]
        crops = jax.vmap(
            lambda start: jax.lax.dynamic_slice(streams["samples"], (start,), (length,))
        )(starts)
        crops = crops.astype(jnp.float32) * gain  # (attempts, length)
        is_used = jnp.arange(length) < self.length * (1.0 if factor is None else factor)
        rms = jnp.sqrt(jnp.sum(jnp.square(crops) * is_used, axis=1) / is_used.sum())
        audible = rms > mixer.AUDIBLE_RE_RECORDING * streams["level"][stream]
        first = jnp.where(audible.any(), jnp.argmax(audible), mixer.CROP_ATTEMPTS - 1)
        crop = crops[first]
        if factor is None:
            return crop
        before = signals.RESAMPLING_TAPS // 2 - 1
        return jax.lax.cond(
            factor == 1.0,
            lambda: crop[before : before + self.length],
            lambda: signals.played(crop, factor, self.length),
        )

    def _with_turn(self, pools: Pools, draws: Draws, voice: Array) -> tuple[Array, Array]:
        """A voice of which another takes a part, and how much softer one of them is, dB."""
        other = self._crop(pools["voice"], draws, 0, None)
        other = other * (self._level(voice) / self._level(other))
        other = jnp.where(draws.chance(mixer.SAME_SPEAKER_SHARE), voice, other)
        drop_db = draws.uniform(*self.config.turn_drop_db)
        other = other * amplitude(-drop_db)
        soft_first = draws.chance(mixer.SOFT_FIRST_SHARE)
        first, second = (jnp.where(soft_first, a, b) for a, b in ((other, voice), (voice, other)))
        begin = draws.uniform(*mixer.TURN_BEGIN_SHARE) * self.length
        end = begin + draws.uniform(*mixer.TURN_LENGTH_SHARE) * self.length
        time, fade = jnp.arange(self.length), mixer.TURN_FADE_S * self.rate
        share = signals.ramp(time, begin, fade) * (1.0 - signals.ramp(time, end, fade))
        return first * (1.0 - share) + second * share, drop_db

    def _with_gap(self, draws: Draws, voice: Array) -> Array:
        """See `mixer.with_gap`."""
        length, fade = self.length, max(1.0, mixer.FADE_S * self.rate)
        gap = jnp.round(draws.uniform(*mixer.GAP_SHARE) * length)
        place = draws.uniform(0.0, 3.0)
        within = jnp.floor(draws.uniform() * (length - gap + 1))
        cut = jnp.where(place < 1.0, 0.0, jnp.where(place < 2.0, length - gap, within))
        time = jnp.arange(length, dtype=jnp.float32)
        after = time >= cut + gap
        source = jnp.where(after, time - gap, time)
        begin, end = jnp.where(after, cut, 0.0), jnp.where(after, length - gap, cut)
        fades = signals.ramp(source, begin, fade) * signals.ramp(end - 1.0 - source, 0.0, fade)
        is_sound = after | (time < cut)
        moved = voice[jnp.clip(source, 0, length - 1).astype(jnp.int32)]
        return jnp.where(is_sound, moved * fades, 0.0)

    def _colour(self, draws: Draws) -> Array:
        """The response of a random tone colour."""
        return signals.equaliser(
            self.transform.frequency, self.rate, draws, self.config.equalise_gain_db
        )

    def _noise(self, pools: Pools, draws: Draws) -> Array:
        """See `Mixer.draw_noise`."""
        first = self._one_noise(pools, draws)
        if not self.config.two_noises_probability:
            return first

        def with_second(first: Array) -> Array:
            second = self._one_noise(pools, draws)
            relative_db = draws.uniform(*self.config.second_noise_gain_db)
            gain = self._level(first) / self._level(second) * amplitude(relative_db)
            return first + gain * second

        return _changed(draws.chance(self.config.two_noises_probability), with_second, first)

    def _one_noise(self, pools: Pools, draws: Draws) -> Array:
        """A recorded noise, a babble or a computed one."""
        config = self.config
        shares = np.cumsum(
            [config.babble_probability, config.synthetic_probability, config.tones_probability]
        )
        kind = jnp.searchsorted(shares, draws.uniform(), side="right")
        kind = jnp.where(kind == len(shares), 0, kind + 1)  # places in `KINDS`
        recorded, babble = kind == KINDS.index("recorded"), kind == KINDS.index("babble")
        factor = self._factor(draws, config.noise_speed_probability, config.noise_speed)
        noise = self._crop(pools["noise"], draws, kind, jnp.where(recorded, factor, 1.0))
        if not config.noise_equalise_probability:
            return noise
        is_coloured = draws.chance(config.noise_equalise_probability) & (recorded | babble)

        def coloured(noise: Array) -> Array:
            spectrum = self.transform.forward(noise) * self._colour(draws)
            return self.transform.inverse(spectrum, self.length)

        return _changed(is_coloured, coloured, noise)

    def _added(
        self, pools: Pools, draws: Draws, noisy: Array, kind: str, gain_db: Array, happens: Array
    ) -> Array:
        """A sound to which a computed one is added, if it happens, at a level relative to it."""

        def with_noise(noisy: Array) -> Array:
            noise = self._crop(pools["noise"], draws, KINDS.index(kind), None)
            return noisy + self._level(noisy) / self._level(noise) * amplitude(gain_db) * noise

        return _changed(happens, with_noise, noisy)

    def _disturbed(self, pools: Pools, draws: Draws, noisy: Array) -> Array:
        """See `Recipe._disturb`."""
        config = self.config
        if config.hum_probability:
            gain_db, happens = -draws.uniform(*config.hum_snr_db), config.hum_probability
            noisy = self._added(pools, draws, noisy, "hum", gain_db, draws.chance(happens))
        if config.rumble_probability:
            gain_db, happens = draws.uniform(*config.rumble_gain_db), config.rumble_probability
            noisy = self._added(pools, draws, noisy, "rumble", gain_db, draws.chance(happens))
        if config.pop_probability:
            noisy = _changed(
                draws.chance(config.pop_probability),
                lambda noisy: noisy + self._pops(draws) * self._level(noisy),
                noisy,
            )
        return noisy

    def _pops(self, draws: Draws) -> Array:
        """One to three pops, relative to a level of 1; see `augment.add_pops`."""
        time = jnp.arange(self.length) / self.rate
        count = 1.0 + jnp.floor(draws.uniform(0.0, augment.MOST_POPS))
        total = jnp.zeros(self.length)
        for number in range(augment.MOST_POPS):
            since = jnp.maximum(time - draws.uniform(0.0, time[-1]), 0.0)
            fall = jnp.exp(-since / draws.uniform(*augment.POP_DECAY_S))
            shape = jnp.minimum(since / augment.POP_ATTACK_S, 1.0) * fall
            wave = shape * jnp.sin(2.0 * np.pi * draws.uniform(*augment.POP_HZ) * since)
            gain = amplitude(draws.uniform(*self.config.pop_gain_db)) * draws.sign()
            happens = jnp.where(number < count, 1.0, 0.0)
            total += happens * gain / jnp.maximum(jnp.abs(wave).max(), 1e-6) * wave
        return total

    def _at_level(self, draws: Draws, noisy: Array, clean: Array) -> tuple[Array, Array]:
        """See `Recipe._at_level`."""
        wanted = amplitude(draws.uniform(*self.config.level_dbfs))
        peak = jnp.maximum(jnp.abs(noisy).max(), jnp.abs(clean).max())
        gain = jnp.minimum(
            wanted / self._level(noisy), mixer.HIGHEST_PEAK / jnp.maximum(peak, 1e-10)
        )
        return noisy * gain, clean * gain

    def _degraded(
        self, pools: Pools, draws: Draws, noisy: Array, clean: Array
    ) -> tuple[Array, Array]:
        """See `Recipe._degrade`; without codecs."""
        config = self.config
        if config.volume_probability:
            gain = amplitude(draws.uniform(*config.volume_gain_db))
            gain = jnp.where(draws.chance(config.volume_probability), gain, 1.0)
            noisy, clean = noisy * gain, clean * gain
        if config.time_shift_probability:
            shift = jnp.round(draws.uniform(*config.time_shift_s) * self.rate).astype(jnp.int32)
            shift = jnp.where(draws.chance(config.time_shift_probability), shift, 0)
            noisy, clean = self._shifted(noisy, shift), self._shifted(clean, shift)
        if config.artificial_noise_probability:
            gain_db = -draws.uniform(*config.artificial_noise_snr_db)
            happens = draws.chance(config.artificial_noise_probability)
            noisy = self._added(pools, draws, noisy, "artificial", gain_db, happens)
        noisy, clean = self._narrowed(draws, noisy, clean)
        if config.offset_probability:
            offset = draws.uniform(*config.offset) * draws.sign()
            noisy = noisy + jnp.where(draws.chance(config.offset_probability), offset, 0.0)
        if config.clip_probability:
            fraction, clips = draws.uniform(*config.clip_fraction), config.clip_probability
            noisy = _changed(draws.chance(clips), lambda n: signals.clipped(n, fraction), noisy)
        return noisy, clean

    def _shifted(self, waveform: Array, shift: Array) -> Array:
        """See `augment.time_shift`."""
        source = jnp.arange(self.length) - shift
        inside = (source >= 0) & (source < self.length)
        return jnp.where(inside, waveform[jnp.clip(source, 0, self.length - 1)], 0.0)

    def _narrowed(self, draws: Draws, noisy: Array, clean: Array) -> tuple[Array, Array]:
        """Both, perhaps limited to the band of telephone lines, codecs or old recordings."""
        config, frequency, gains = self.config, self.transform.frequency, []
        steep = augment.STEEP_ORDER
        if config.low_pass_probability:
            cutoff = jnp.minimum(draws.uniform(*config.low_pass_hz), 0.45 * self.rate)
            gain = signals.low_pass(frequency, self.rate, cutoff)
            gains.append((config.low_pass_probability, gain))
        if config.steep_low_pass_probability:
            edge = draws.uniform(*config.steep_low_pass_hz)
            gain = signals.high_cut(frequency, edge, draws.octaves(*steep))
            gains.append((config.steep_low_pass_probability, gain))
        if config.telephone_probability:
            low, high = (
                draws.uniform(*limits)
                for limits in (config.telephone_low_hz, config.telephone_high_hz)
            )
            order = draws.uniform(*augment.TELEPHONE_LOW_ORDER)
            gain = 1.0 - signals.high_cut(frequency, low, order)
            gain *= signals.high_cut(frequency, high, draws.octaves(*steep))
            gains.append((config.telephone_probability, gain))
        if not gains:
            return noisy, clean
        total, narrow = jnp.ones(len(frequency)), jnp.zeros((), bool)
        for probability, gain in gains:
            happens = draws.chance(probability)
            total, narrow = jnp.where(happens, total * gain, total), narrow | happens

        def narrowed(sound: Array) -> Array:
            return self.transform.inverse(self.transform.forward(sound) * total, self.length)

        return _changed(narrow, lambda pair: tuple(map(narrowed, pair)), (noisy, clean))


def _changed(happens: Array, function: Callable[[Any], Any], value: Any) -> Any:
    """What a function makes of a value if something happens, and the value itself otherwise.

    In a batch that is drawn at once, the function is computed for every mixture.
    """
    return jax.lax.cond(happens, function, lambda unchanged: unchanged, value)
