"""Videos: frames of films, recordings and animations of every common kind, or arrays of bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from perceptio.data.batches import standardise
from perceptio.data.clip_augment import (
    ColourShift,
    check_strength,
    draw_box,
    draw_colour,
    reduced,
    resize_clip,
    shift_colours,
    to_grey,
)
from perceptio.data.crops import Box, centre_crop
from perceptio.data.image_config import check_normalisation, check_range
from perceptio.data.items import File, Item
from perceptio.data.limits import Limits
from perceptio.data.video_files import Video, check_video, open_video, probe_video
from perceptio.errors import FileError, UsageError
from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.modalities.contract import Candidate, Content, Facts, Film, Modality
from perceptio.modalities.side_by_side import beside, maps_beside
from perceptio.shapes import Tensor

SHOWN_FRAMES = 6
"""Frames of a clip that stand side by side in its picture."""

_CANDIDATES = ((8, 32, (2, 4, 4)), (16, 64, (2, 8, 8)), (32, 112, (2, 8, 8)), (32, 224, (2, 8, 8)))
_RATES = (4.0, 5.0, 6.0, 8.0, 10.0, 12.5, 15.0, 20.0, 25.0)
_LEAST_SHRUNK_SIDE = 16


class _Look(NamedTuple):
    """How one view of a clip is seen."""

    box: Box
    mirrored: bool
    colours: ColourShift | None


@dataclass(frozen=True, kw_only=True)
class VideoModality(Modality):
    """Clips of videos as grids of frames, rows and columns. The defaults are the paper's AudioSet (section 4.2).

    A clip is `num_frames` frames at `frames_per_second`, whatever the file's own rate: at each of these moments the
    frame that is on the screen. It begins at the multiple of a frame's time next to where it is asked for; what reaches
    past the end repeats the last frame.

    Raises:
        UsageError: a value is out of range or does not fit another one.
    """

    kind: ClassVar[str] = "video"
    suffixes: ClassVar[frozenset[str]] = frozenset(
        {
            ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".3gp", ".3g2",
            ".flv", ".wmv", ".asf", ".ogv", ".mj2", ".gif",
        }
    )  # fmt: skip
    companions: ClassVar[tuple[str, ...]] = ("audio",)
    blends: ClassVar[bool] = True

    num_frames: int = 32
    """Frames of a clip."""
    frames_per_second: float = 25.0
    """Rate at which a clip samples the video; arrays are taken to have this rate."""
    size: tuple[int, int] = (224, 224)
    """Height and width of what the model sees, in pixels."""
    channels: Literal[1, 3] = 3
    """1: grey; 3: red, green, blue. Files of the other kind are converted."""
    crop_area: tuple[float, float] = (0.08, 1.0)
    """Range of the training crop's share of a frame's area. One crop holds for the whole clip."""
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    """Range of the training crop's width to height, relative to that of `size`; 1 is undistorted."""
    flip_probability: float = 0.5
    """How often a training clip is mirrored left to right. Use 0 where left and right matter, as in writing."""
    colour_strength: float = 1.0
    """Strength of the training clip's change of colours, 0 (off) to 2. At 1 brightness shifts by up to 32 of 255,
    contrast and saturation are multiplied by 0.6 to 1.4, the hue turns by up to a fifth. Not in the paper: the amounts;
    it only says that colours are augmented."""
    evaluation_crop: float = 224 / 256
    """Share of the largest fitting box that the evaluation crop takes from the frames' centre; 1 is all of it."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Mean of each channel, of values in [0, 1]."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    """Standard deviation of each channel, of values in [0, 1]."""
    encoding: GridEncoding = field(default_factory=lambda: GridEncoding(patch=(2, 8, 8), num_bands=16))
    """How frames, rows and columns become tokens that know where they stand. Not in the paper: 16 bands, which follow
    from the 487 channels that a later paper gives for its video with sound: 2 * 8 * 8 * 3 + 3 * (2 * 16 + 1) + 4."""

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise UsageError(f"num_frames must be at least 1: got {self.num_frames}")
        if not 0.0 < self.frames_per_second <= 1000.0:
            raise UsageError(f"frames_per_second must be above 0, at most 1000: got {self.frames_per_second}")
        if len(self.size) != 2 or min(self.size) < 1:
            raise UsageError(f"size must be a height and a width of at least 1 pixel: got {self.size}")
        if self.num_frames * self.size[0] * self.size[1] > Limits.max_clip_pixels:
            raise UsageError(
                f"a clip of {self.num_frames} frames of {self.size[0]} x {self.size[1]} pixels is larger than "
                f"{Limits.max_clip_pixels:,} pixels; set a smaller size or num_frames"
            )
        if self.channels not in (1, 3):
            raise UsageError(f"channels must be 1 (grey) or 3 (colour): got {self.channels}")
        self._check_augmentation()
        check_normalisation(self.channels, self.mean, self.std)
        try:
            self.input_config()
        except ValueError as error:
            raise UsageError(str(error)) from error

    def _check_augmentation(self) -> None:
        check_range("crop_area", self.crop_area, most=1.0)
        check_range("crop_aspect", self.crop_aspect, most=100.0)
        if not 0.0 <= self.flip_probability <= 1.0:
            raise UsageError(f"flip_probability must lie in 0 to 1: got {self.flip_probability}")
        if not 0.0 < self.evaluation_crop <= 1.0:
            raise UsageError(f"evaluation_crop must be above 0 and at most 1: got {self.evaluation_crop}")
        check_strength(self.colour_strength)

    @property
    def clip_seconds(self) -> float:
        """How much time a clip covers."""
        return self.num_frames / self.frames_per_second

    def input_config(self) -> GridInputConfig:
        """Returns size and position encoding of the model's input."""
        return GridInputConfig(axes=(self.num_frames, *self.size), channels=self.channels, encoding=self.encoding)

    def shrunk(self) -> "VideoModality":
        """Returns the same with two patches of frames, at least 16 x 16 pixels and four frequency bands."""
        frames, *sides = self.encoding.patch or (1, 1, 1)
        height, width = (patch * max(2, -(-_LEAST_SHRUNK_SIDE // patch)) for patch in sides)
        encoding = replace(self.encoding, num_bands=4) if self.encoding.positions == "fourier" else self.encoding
        return replace(self, num_frames=2 * frames, size=(height, width), encoding=encoding)

    def describe(self) -> str:
        """Returns frames, height, width and channels, and the rate."""
        sides = " x ".join(map(str, (*self.size, self.channels)))
        return f"{self.num_frames} frames of {sides} at {self.frames_per_second:g} a second"

    def summary(self, facts: Sequence[Facts]) -> str:
        """Returns length, size and rate of the middle file."""
        if not facts:
            return ""
        names = ("seconds", "width", "height", "frames_per_second")
        seconds, width, height, rate = (median(fact[name] for fact in facts) for name in names)
        return f"{seconds:.3g} s of {width:,.0f} x {height:,.0f} pixels at {rate:.3g} a second (median)"

    def probe(self, file: File, limits: Limits) -> Facts:
        """Returns seconds, height, width (upright, square pixels), frames_per_second and has_sound (1 or 0)."""
        return probe_video(file, limits)

    def sizes(self, facts: Facts) -> Mapping[str, float]:
        """Returns length, height, width and rate."""
        return {
            "length (s)": facts["seconds"],
            "height (pixels)": facts["height"],
            "width (pixels)": facts["width"],
            "frames a second": facts["frames_per_second"],
        }

    def check(self, file: File, limits: Limits) -> None:
        """Decodes the video frame by frame, of very long ones the first 100,000 frames."""
        check_video(file, limits)

    def open(self, item: Item, limits: Limits) -> Content:
        """Opens a file, or takes an array of bytes (frames, height, width, 1 or 3)."""
        if isinstance(item, np.ndarray):
            return _ArrayClips(self, item)
        return _FileClips(self, open_video(item, limits))

    def prepare(self, values: Tensor) -> Tensor:
        """Returns bytes standardised by mean and deviation of each channel."""
        return standardise(values, self.mean, self.std)

    def picture(self, values: np.ndarray) -> np.ndarray:
        """Returns six frames, evenly spaced, side by side: (height, about 6 width, 3); of fewer than six frames all."""
        strip = beside(list(values[list(shown_frames(len(values)))]), self._patch_width, white=255)
        return strip if strip.shape[2] == 3 else strip.repeat(3, axis=2)

    def spread(self, values: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Returns the maps of the frames that `picture` shows, side by side, from scores (T, rows, columns)."""
        maps = self.frame_maps(scores, len(values))
        return maps_beside(list(maps[list(shown_frames(len(values)))]), self._patch_width)

    @property
    def _patch_width(self) -> int:
        return self.encoding.patch[2] if self.encoding.patch else 1

    def frame_maps(self, scores: np.ndarray, num_frames: int) -> np.ndarray:
        """Returns a map for each frame, as for a film of the attention: (num_frames, rows, columns).

        Args:
            scores: (T, rows, columns), one for each token; the frames of one patch share theirs.
            num_frames: frames of the clip.
        """
        per_token = -(-num_frames // len(scores))
        return np.asarray(scores.repeat(per_token, axis=0)[:num_frames])

    def film(self, values: np.ndarray, scores: np.ndarray) -> Film:
        """Returns the clip with a map for each frame."""
        return Film(
            pictures=values,
            maps=self.frame_maps(scores, len(values)),
            frames_per_second=self.frames_per_second,
        )

    @classmethod
    def candidates(cls, facts: Sequence[Facts]) -> tuple[Candidate, ...]:
        """Returns clips of several lengths and sizes, none with more frames or larger than half of the files have."""
        seconds = median(fact["seconds"] for fact in facts) if facts else None
        own_rate = median(fact["frames_per_second"] for fact in facts) if facts else max(_RATES)
        side = median(min(fact["height"], fact["width"]) for fact in facts) if facts else None
        found = []
        for number, (num_frames, candidate_side, patch) in enumerate(_CANDIDATES):
            too_long = seconds is not None and num_frames > seconds * own_rate
            if number > 0 and (too_long or (side is not None and candidate_side > side)):
                continue
            rate = _rate(num_frames, seconds, own_rate)
            modality = cls(
                num_frames=num_frames,
                frames_per_second=rate,
                size=(candidate_side, candidate_side),
                crop_area=(0.35, 1.0),
                evaluation_crop=1.0,
                encoding=GridEncoding(patch=patch, num_bands=_bands_of(candidate_side // patch[1])),
            )
            found.append(Candidate(modality=modality, why=_why(modality, seconds, side)))
        return tuple(found)

    def look(self, size: tuple[int, int], random: np.random.Generator | None) -> _Look:
        """Draws how a clip of frames of some size is seen; None: the plain centre crop."""
        if random is None:
            return _Look(centre_crop(size, self.evaluation_crop, self.size), False, None)
        box = draw_box(size, self.size, self.crop_area, self.crop_aspect, random)
        mirrored = bool(random.random() < self.flip_probability)
        return _Look(box, mirrored, draw_colour(self.colour_strength, random) if self.colour_strength > 0 else None)

    def finish(self, cropped: np.ndarray, look: _Look) -> np.ndarray:
        """Returns the view of a crop: scaled, mirrored and with its colours changed as `look` says."""
        clip = resize_clip(cropped, self.size)
        clip = to_grey(clip) if self.channels == 1 else np.broadcast_to(clip, (*clip.shape[:3], 3))
        if look.mirrored:
            clip = clip[:, :, ::-1]
        return np.ascontiguousarray(clip) if look.colours is None else shift_colours(clip, look.colours)

    def first_frame(self, start: float) -> int:
        """Returns the number of the clip's first frame, counted at the clip's rate from the start of the video."""
        return max(0, round(start * self.frames_per_second))


@dataclass(frozen=True)
class _FileClips:
    """Clips of an open file."""

    modality: VideoModality
    video: Video

    @property
    def seconds(self) -> float:
        """How long the video lasts."""
        return self.video.seconds

    def view(self, start: float, random: np.random.Generator | None) -> np.ndarray:
        """Returns a random view, or the plain one: bytes (frames, height, width, channels)."""
        look = self.modality.look(self.video.size, random)
        size, box = reduced(self.video.size, look.box, self.modality.size)
        numbers = self.modality.first_frame(start) + np.arange(self.modality.num_frames)
        times = (numbers / self.modality.frames_per_second).tolist()
        return self.modality.finish(self.video.frames_at(times, size=size, box=box), look)

    def close(self) -> None:
        """Lets go of the file."""
        self.video.close()


class _ArrayClips:
    """Clips of frames that lie in memory, taken at the modality's rate."""

    def __init__(self, modality: VideoModality, frames: np.ndarray) -> None:
        if frames.dtype != np.uint8:
            raise FileError(f"a video array must hold bytes (uint8), not {frames.dtype}; scale it to 0 to 255 first")
        if frames.ndim != 4 or frames.shape[3] not in (1, 3) or frames.size == 0:
            raise FileError(f"a video array must be (frames, height, width, 1 or 3), not {frames.shape}")
        self.modality = modality
        self.frames = frames

    @property
    def seconds(self) -> float:
        """How long the frames last at the modality's rate."""
        return len(self.frames) / self.modality.frames_per_second

    def view(self, start: float, random: np.random.Generator | None) -> np.ndarray:
        """Returns a random view, or the plain one: bytes (frames, height, width, channels)."""
        look = self.modality.look((self.frames.shape[1], self.frames.shape[2]), random)
        numbers = self.modality.first_frame(start) + np.arange(self.modality.num_frames)
        left, top, width, height = look.box
        part = self.frames[np.minimum(numbers, len(self.frames) - 1), top : top + height, left : left + width]
        return self.modality.finish(part, look)

    def close(self) -> None:
        """Nothing is open."""


def shown_frames(num_frames: int) -> tuple[int, ...]:
    """Returns which frames of a clip its picture shows: the middle of each sixth, or all where there are no six."""
    if num_frames <= SHOWN_FRAMES:
        return tuple(range(num_frames))
    return tuple(num_frames * (2 * part + 1) // (2 * SHOWN_FRAMES) for part in range(SHOWN_FRAMES))


def _rate(num_frames: int, seconds: float | None, own_rate: float) -> float:
    """Returns the highest rate at which a clip covers half of a video, from 4 to 25 and never above the files' own."""
    slowest = min(_RATES[0], own_rate)
    wanted = max(_RATES) if seconds is None or seconds <= 0 else 2 * num_frames / seconds
    return max((rate for rate in _RATES if rate <= min(wanted, own_rate)), default=slowest)


def _bands_of(tokens: int) -> int:
    """Returns the number of frequency bands: the paper's 16 at 28 tokens a side, in proportion, at least 4."""
    return max(4, tokens * 16 // 28)


def _why(modality: VideoModality, seconds: float | None, side: float | None) -> str:
    covers = (
        f"{modality.num_frames} frames at {modality.frames_per_second:g} a second cover {modality.clip_seconds:.3g} s"
    )
    if seconds is None or side is None:
        return f"{covers}; the samples have no files that would say more"
    return f"{covers} of the files' {seconds:.3g} s (median), whose shorter side is {side:g} pixels (median)"
