"""Sound: files of every common kind, the sound of videos, or arrays of samples."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from statistics import median
from typing import Any, ClassVar, Literal

import numpy as np

from perceptio.data.audio_files import AudioFile, Sound, SoundArray, probe_audio
from perceptio.data.items import File, Item
from perceptio.data.limits import Limits
from perceptio.data.log_mel import LogMel, MelScale
from perceptio.data.spec_augment import SpecAugment
from perceptio.errors import UsageError
from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.modalities import audio_pictures as pictures
from perceptio.modalities.contract import Candidate, Facts, Modality
from perceptio.shapes import Tensor

CLIP_SECONDS = (0.64, 1.28, 2.56, 5.12)
RATES_HZ = (8_000, 16_000, 24_000, 32_000)
_MAX_CLIP_SAMPLES = 2**26
_MAX_GAIN_DB = 60.0
_SHRUNK_TOKENS = 16
# What has no effect with the other features.
_WAVEFORM_ONLY = ("segment", "num_channels")
_LOG_MEL_ONLY = ("mel_bins", "hop", "window", "mel_scale", "flatten", "mean", "std", "spec_augment")


@dataclass(frozen=True, kw_only=True)
class AudioModality(Modality):
    """Sound as a line of samples or as a log-mel spectrogram. Rate and length of a clip are the paper's (section 4.2).

    Raises:
        UsageError: a value is out of range, does not fit another one, or has no effect.
    """

    kind: ClassVar[str] = "audio"
    blends: ClassVar[bool] = True
    suffixes: ClassVar[frozenset[str]] = frozenset(
        {".wav", ".wave", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".m4a", ".m4b", ".aac", ".ac3"}
        | {".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".amr", ".wma", ".wv", ".ape", ".tta", ".mka", ".weba"}
    )

    features: Literal["log_mel", "waveform"] = "log_mel"
    """log_mel: loudness of bands of pitch over time. waveform: the samples themselves."""
    sample_rate_hz: int = 48_000
    """Rate that files are resampled to, in samples a second."""
    clip_samples: int = 61_440
    """Samples of one clip at that rate; 61,440 at 48 kHz are 1.28 s. Shorter files are followed by silence."""
    num_channels: Literal[1, 2] = 1
    """1: files are mixed down. 2: left and right; only with waveform."""
    segment: int = 128
    """waveform only: samples that make one token."""
    mel_bins: int = 60
    """log_mel only: bands of pitch."""
    hop: int = 768
    """log_mel only: samples from one frame to the next; must divide clip_samples."""
    window: int = 1536
    """log_mel only: samples that one frame looks at."""
    mel_scale: MelScale = "slaney"
    """log_mel only: formula of the mel scale."""
    flatten: bool = False
    """log_mel only. False: two axes, time and pitch. True: one axis, frame after frame (Perceiver IO, Tab. 6)."""
    mean: float = -10.0
    """log_mel only: what is subtracted from the logarithm of power."""
    std: float = 4.5
    """log_mel only: what that is divided by."""
    spec_augment: SpecAugment = field(default_factory=SpecAugment)
    """log_mel only: spans of time and bands of pitch hidden in training; off by default."""
    gain_db: float = 0.0
    """Training clips are made louder or softer by up to so many decibels."""
    encoding: GridEncoding = field(default_factory=GridEncoding)
    """How places become tokens that know where they stand. With waveform, `segment` says the patch."""

    def __post_init__(self) -> None:
        if not 1 <= self.sample_rate_hz <= Limits.max_sample_rate_hz:
            raise UsageError(f"sample_rate_hz must be 1 to {Limits.max_sample_rate_hz:,}: got {self.sample_rate_hz}")
        if not 1 <= self.clip_samples <= _MAX_CLIP_SAMPLES:
            raise UsageError(f"clip_samples must be 1 to {_MAX_CLIP_SAMPLES:,}: got {self.clip_samples}")
        if self.num_channels not in (1, 2):
            raise UsageError(f"num_channels must be 1 or 2: got {self.num_channels}")
        if not 0.0 <= self.gain_db <= _MAX_GAIN_DB:
            raise UsageError(f"gain_db must lie in 0 to {_MAX_GAIN_DB:g}: got {self.gain_db}")
        if self.features == "waveform":
            self._check_waveform()
        elif self.features == "log_mel":
            self._check_log_mel()
        else:
            raise UsageError(f"features must be log_mel or waveform: got {self.features!r}")
        try:
            self.input_config()
        except ValueError as error:
            raise UsageError(str(error)) from error

    def adapted(self, changes: Mapping[str, Any]) -> "AudioModality":
        """Returns the same with some fields changed, as options change them.

        Other `features` than before: the fields of those that were, and the encoding of their axes, go back to their
        defaults, for nobody asked for them. Those among the changes stay, and are refused as always.
        """
        if changes.get("features", self.features) == self.features:
            return replace(self, **changes)
        without_effect = _LOG_MEL_ONLY if self.features == "log_mel" else _WAVEFORM_ONLY
        usual = AudioModality()
        return replace(self, **{name: getattr(usual, name) for name in (*without_effect, "encoding")} | dict(changes))

    @property
    def clip_seconds(self) -> float:
        """How much time one view covers."""
        return self.clip_samples / self.sample_rate_hz

    @property
    def num_frames(self) -> int:
        """Frames of a spectrogram."""
        return self.clip_samples // self.hop

    @cached_property
    def log_mel(self) -> LogMel:
        """Turns samples into spectrograms; raises UsageError if bins, hop, window and rate do not fit."""
        return LogMel(
            sample_rate_hz=self.sample_rate_hz,
            num_bins=self.mel_bins,
            hop=self.hop,
            window=self.window,
            scale=self.mel_scale,
        )

    def input_config(self) -> GridInputConfig:
        """Returns one axis of samples cut into segments; or frames and bins; or one axis of both."""
        if self.features == "waveform":
            encoding = replace(self.encoding, patch=(self.segment,))
            return GridInputConfig(axes=(self.clip_samples,), channels=self.num_channels, encoding=encoding)
        size = (self.num_frames, self.mel_bins)
        return GridInputConfig(axes=(math.prod(size),) if self.flatten else size, channels=1, encoding=self.encoding)

    def shrunk(self) -> "AudioModality":
        """Returns the same with about 16 segments, or 16 frames of 16 bins, and four frequency bands."""
        encoding = replace(self.encoding, num_bands=4) if self.encoding.positions == "fourier" else self.encoding
        if self.features == "waveform":
            clip = min(self.clip_samples, _SHRUNK_TOKENS * self.segment)
            return replace(self, clip_samples=clip, encoding=encoding)
        patch = self.encoding.patch or (1,) * (1 if self.flatten else 2)
        frames, bins = (_smallest(patch[0], self.num_frames), _smallest(patch[-1], self.mel_bins))
        spec = self.spec_augment
        return replace(
            self,
            clip_samples=frames * self.hop,
            mel_bins=bins,
            spec_augment=replace(
                spec,
                max_time_frames=min(spec.max_time_frames, frames),
                max_frequency_bins=min(spec.max_frequency_bins, bins),
            ),
            encoding=encoding,
        )

    def describe(self) -> str:
        """Returns the size of a view, its length and its rate."""
        size = f"{self.clip_samples:,} samples" + (" x 2 channels" if self.num_channels == 2 else "")
        if self.features == "log_mel":
            size = f"{self.num_frames} frames x {self.mel_bins} mel bins"
        return f"{size} ({self.clip_seconds:g} s at {self.sample_rate_hz / 1000:g} kHz)"

    def summary(self, facts: Sequence[Facts]) -> str:
        """Returns length and rate of the middle file."""
        if not facts:
            return ""
        seconds, rate = (median(fact[name] for fact in facts) for name in ("seconds", "sample_rate_hz"))
        return f"{seconds:.3g} s at {rate / 1000:g} kHz (median)"

    def conversion(self, facts: Facts) -> str:
        """Returns the change of rate, if there is one."""
        rate = facts["sample_rate_hz"]
        if rate == self.sample_rate_hz:
            return ""
        return f"{rate / 1000:g} kHz converted to {self.sample_rate_hz / 1000:g} kHz"

    def probe(self, file: File, limits: Limits) -> Facts:
        """Returns seconds, sample_rate_hz and num_channels; raises AbsentError for a file without sound."""
        return probe_audio(file, limits)

    def sizes(self, facts: Facts) -> Mapping[str, float]:
        """Returns length, rate and channels."""
        return {
            "length (s)": facts["seconds"],
            "sample rate (Hz)": facts["sample_rate_hz"],
            "channels": facts["num_channels"],
        }

    def check(self, file: File, limits: Limits) -> None:
        """Decodes all of it, piece by piece."""
        with AudioFile(file, self.num_channels, limits) as sound:
            sound.scan()

    def open(self, item: Item, limits: Limits) -> "AudioClips":
        """Opens a file, or samples (n,) or (n, channels) that are taken to be at the modality's rate."""
        if isinstance(item, np.ndarray):
            return AudioClips(self, SoundArray(item, self.sample_rate_hz, self.num_channels, limits))
        return AudioClips(self, AudioFile(item, self.num_channels, limits))

    def prepare(self, values: Tensor) -> Tensor:
        """Returns samples as they are, or log-mel values less `mean`, over `std`."""
        values = values.float()
        return values if self.features == "waveform" else (values - self.mean) / self.std

    def picture(self, values: np.ndarray) -> np.ndarray:
        """Returns a line picture of the samples, or the spectrogram in grey with low pitch at the bottom."""
        if self.features == "waveform":
            return pictures.waveform_picture(values, self.input_config().num_tokens)
        return pictures.spectrogram_picture(values.reshape(self.num_frames, self.mel_bins))

    def spread(self, values: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Returns scores laid out as the picture: time from left to right, low pitch at the bottom.

        Of more tokens than columns each column gets the mean of its own.
        """
        if self.features == "waveform":
            return pictures.waveform_spread(scores)
        if self.flatten:
            # A token may reach over the end of a frame: each of its values shows its score.
            each = np.repeat(scores, self.input_config().patch[0])
            return pictures.upright_spectrogram(each.reshape(self.num_frames, self.mel_bins))
        return pictures.upright_spectrogram(scores)

    @classmethod
    def candidates(cls, facts: Sequence[Facts]) -> tuple[Candidate, ...]:
        """Returns log-mel clips of 0.64 s to 5.12 s, none much longer than half of the files; cheapest first.

        First coarse spectrograms (frames 32 ms apart, 32 bins) of longer and longer clips, then finer ones of the
        longest: 16 ms and 32 bins, 16 ms and the paper's count of 60 bins.
        """
        lasting = median(fact["seconds"] for fact in facts) if facts else None
        usual = median(fact["sample_rate_hz"] for fact in facts) if facts else None
        reach = 1.5 * (CLIP_SECONDS[1] if lasting is None else lasting)
        lengths = [seconds for seconds in CLIP_SECONDS if seconds <= max(reach, CLIP_SECONDS[0])]
        rate = next((rate for rate in RATES_HZ if usual is None or usual <= rate), RATES_HZ[-1])
        rate = RATES_HZ[-1] if usual is None else rate
        known = "their length is not known" if lasting is None else f"the files last {lasting:.2g} s (median)"
        levels = [(seconds, 0.032, 32) for seconds in lengths] + [(lengths[-1], 0.016, 32), (lengths[-1], 0.016, 60)]
        return tuple(
            Candidate(
                modality=_spectrogram(cls, rate, seconds, round(hop_seconds * rate), bins),
                why=f"clips of {seconds:g} s as {round(seconds / hop_seconds)} x {bins} log-mel values: {known}",
            )
            for seconds, hop_seconds, bins in levels
        )

    def _check_waveform(self) -> None:
        usual = AudioModality()
        for name in _LOG_MEL_ONLY:
            if getattr(self, name) != getattr(usual, name):
                raise UsageError(f"{name} has no effect with features='waveform'; leave it at its default")
        if self.encoding.patch:
            raise UsageError(f"encoding.patch must be empty with waveform: got {self.encoding.patch}. Set segment")
        if self.segment < 1 or self.clip_samples % self.segment:
            raise UsageError(_must_divide("segment", self.segment, self.clip_samples))

    def _check_log_mel(self) -> None:
        default = next(option.default for option in fields(self) if option.name == "segment")
        if self.segment != default:
            raise UsageError(f"segment has no effect with features='log_mel'; leave it at its default, {default}")
        if self.num_channels != 1:
            raise UsageError("num_channels must be 1 with log_mel: files are mixed down. Set features='waveform'")
        if self.hop < 1 or self.clip_samples % self.hop:
            raise UsageError(_must_divide("hop", self.hop, self.clip_samples))
        if self.clip_samples < self.window:
            raise UsageError(f"clip_samples must be at least window: got {self.clip_samples} and {self.window}")
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0.0):
            raise UsageError(f"mean and std must be finite and std above 0: got {self.mean} and {self.std}")
        spec, num_frames = self.spec_augment, self.log_mel.num_frames(self.clip_samples)
        if spec.max_time_frames > num_frames or spec.max_frequency_bins > self.mel_bins:
            raise UsageError(
                "spec_augment must not hide more than there is: got max_time_frames "
                f"{spec.max_time_frames} of {num_frames} and max_frequency_bins {spec.max_frequency_bins} of "
                f"{self.mel_bins}"
            )


@dataclass(frozen=True)
class AudioClips:
    """An opened sound, from which clips are taken."""

    modality: AudioModality
    sound: Sound

    @property
    def seconds(self) -> float:
        """How long the sound lasts."""
        return self.sound.seconds

    def view(self, start: float, random: np.random.Generator | None) -> np.ndarray:
        """Returns the clip that begins at `start` seconds, silent where there is no sound.

        float32: samples (clip_samples, channels) within [-1, 1], or logarithms of power (frames, bins, 1), flattened
        (frames * bins, 1).

        Args:
            random: draws gain and SpecAugment; None: neither.
        """
        modality = self.modality
        samples = self.sound.read(start, modality.clip_samples, modality.sample_rate_hz)
        if random is not None and modality.gain_db > 0.0:
            gain = 10.0 ** (random.uniform(-modality.gain_db, modality.gain_db) / 20.0)
            samples = np.clip(samples * np.float32(gain), -1.0, 1.0)
        if modality.features == "waveform":
            return samples
        spectrogram = modality.log_mel(samples[:, 0])
        if random is not None and modality.spec_augment.is_on:
            spectrogram = modality.spec_augment(spectrogram, random)
        return spectrogram.reshape(-1, 1) if modality.flatten else spectrogram[:, :, None]

    def close(self) -> None:
        """Lets go of the file."""
        self.sound.close()


def _spectrogram(cls: type[AudioModality], rate: int, seconds: float, hop: int, bins: int) -> AudioModality:
    num_frames = round(seconds * rate) // hop
    return cls(
        sample_rate_hz=rate,
        clip_samples=num_frames * hop,
        hop=hop,
        window=2 * hop,
        mel_bins=bins,
        spec_augment=SpecAugment(
            num_time_masks=2,
            max_time_frames=max(1, num_frames // 10),
            num_frequency_masks=2,
            max_frequency_bins=bins // 8,
        ),
        encoding=GridEncoding(num_bands=min(64, bins // 4)),
    )


def _must_divide(name: str, step: int, clip_samples: int) -> str:
    text = f"{name} must divide clip_samples: got {step} and {clip_samples}"
    if step < 1:
        return text
    below, above = clip_samples // step * step, -(-clip_samples // step) * step
    return f"{text}; {f'{below} or ' if below else ''}{above} samples would do"


def _smallest(patch: int, length: int) -> int:
    """Returns about 16 places in whole patches, no more than there are."""
    return min(length, patch * max(1, _SHRUNK_TOKENS // patch))
