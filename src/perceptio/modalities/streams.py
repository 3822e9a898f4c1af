"""The modalities of a sample together: read on one clock, one of them perhaps missing, shown side by side."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import numpy as np

from perceptio.choices import check_choices
from perceptio.data.children import Allowance
from perceptio.data.dataset import View
from perceptio.data.items import Item
from perceptio.data.limits import Limits
from perceptio.data.records import error_of_part
from perceptio.errors import AbsentError, FileError, UsageError
from perceptio.inputs.streams import Absent, StreamsInputConfig, check_stream_names
from perceptio.modalities.contract import Content, Facts, Modality
from perceptio.shapes import Tensor

MOST_CLIPS = 32
"""Clips that cover a recording in evaluation when their number is not given; a longer one is seen in samples."""

StreamFacts = Mapping[str, Facts]
"""What the headers of a sample say, by stream; a stream that the sample lacks is missing."""


@dataclass(frozen=True, kw_only=True)
class Streams:
    """What the model sees of a sample, by name, and how its parts belong together."""

    by_name: Mapping[str, Modality]
    """The modalities, in the order in which their tokens stand."""
    modality_channels: int = 4
    """Channels of the learned encoding that tells the widest of several modalities from the others (the paper's 4)."""
    absent: Absent = "masked"
    """What stands for a stream that a sample lacks, or that training drops: masked, so that it has no influence at
    all, or zeros, raw zeros in its place, as in the paper's video dropout."""
    latest_start_seconds: float | None = None
    """Latest moment of a recording at which a training clip begins; None: anywhere. 0 keeps to its beginning, where
    a single hit or word stands."""
    evaluation_clips: int = 0
    """Clips of a recording over which evaluation and prediction average, evenly spaced from its start to its end, the
    paper's 16 overlapping ones for instance; 0: as many as cover it, at most 32."""

    def __post_init__(self) -> None:
        if not self.by_name:
            raise UsageError("a model needs at least one stream; none is given")
        check_stream_names(self.by_name)
        check_choices(self)
        if self.modality_channels < 1:
            raise UsageError(f"modality_channels must be at least 1: got {self.modality_channels}")
        if self.evaluation_clips < 0:
            raise UsageError(f"evaluation_clips must be at least 0 (as many as cover it): got {self.evaluation_clips}")
        if self.latest_start_seconds is not None and self.latest_start_seconds < 0:
            raise UsageError(f"latest_start_seconds must be at least 0, or None: got {self.latest_start_seconds}")
        for name, modality in self.by_name.items():
            if not 0.0 <= modality.drop_probability < 1.0:
                raise UsageError(f"{name}.drop_probability must lie in [0, 1): got {modality.drop_probability}")
            if modality.drop_probability > 0 and len(self.by_name) == 1:
                raise UsageError(
                    f"{name}.drop_probability needs another stream to fall back on; leave it at 0 with a single stream"
                )

    def input_config(self) -> StreamsInputConfig:
        """Returns size and encodings of the model's input."""
        return StreamsInputConfig(
            {name: modality.input_config() for name, modality in self.by_name.items()},
            modality_channels=self.modality_channels,
            absent=self.absent,
        )

    def describe(self) -> str:
        """Returns the sizes of the streams for people."""
        if len(self.by_name) == 1:
            return next(iter(self.by_name.values())).describe()
        return " and ".join(f"{name} {modality.describe()}" for name, modality in self.by_name.items())

    def admit(self, facts: StreamFacts) -> None:
        """Raises FileError when a sample with these facts cannot be read with these very settings."""
        for name, modality in self.by_name.items():
            if name in facts:
                modality.admit(facts[name])

    @property
    def sizes_differ(self) -> bool:
        """Whether views of different samples may have different sizes."""
        return any(modality.sizes_differ for modality in self.by_name.values())

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each stream."""
        return tuple(modality.kind for modality in self.by_name.values())

    @property
    def views_a_sample(self) -> int:
        """Views of a sample that evaluation should expect, roughly: clips, where their number is given."""
        timed = any(modality.clip_seconds is not None for modality in self.by_name.values())
        return max(1, self.evaluation_clips) if timed else 1

    def prepare(self, name: str, values: Tensor) -> Tensor:
        """Returns the views of a stream as model input."""
        return self.by_name[name].prepare(values)

    def picture(self, view: View) -> np.ndarray:
        """Returns a view as one picture, uint8 (height, width, 3): the streams below each other."""
        pictures = [_rgb(self.by_name[name].picture(values)) for name, values in view.items()]
        width = max(picture.shape[1] for picture in pictures)
        return np.concatenate([_widened(picture, width) for picture in pictures])

    def check_names(self, names: Sequence[str]) -> None:
        """Checks that the model has these streams.

        Raises:
            UsageError: naming those that it has.
        """
        for name in names:
            if name not in self.by_name:
                raise UsageError(f"the model has no stream {name!r}; it has {', '.join(self.by_name)}")


def single_stream(modality: Modality) -> Streams:
    """Returns the streams of samples that hold one modality; the stream bears the name of its kind."""
    return Streams(by_name={modality.kind: modality})


@dataclass(frozen=True)
class StreamReader:
    """Reads samples as `Streams` say. Holds no state and draws nothing itself, so any process may do any sample.

    Attributes:
        only: streams to look at; the others count as missing. None: all.
    """

    streams: Streams
    limits: Limits
    only: tuple[str, ...] | None = None

    def allowance(self, *, whole: bool) -> Allowance:
        """Returns what reading a sample may take; `whole`: all of it, and not a single clip."""
        timed = any(modality.clip_seconds is not None for modality in self.streams.by_name.values())
        if not timed:
            seconds, option = self.limits.max_file_seconds, "--source.limits.max-file-seconds"
        elif whole:
            seconds, option = self.limits.max_recording_seconds, "--source.limits.max-recording-seconds"
        else:
            seconds, option = self.limits.max_clip_seconds, "--source.limits.max-clip-seconds"
        return Allowance(
            seconds=seconds,
            memory_bytes=self.limits.max_decode_bytes,
            options=(option, "--source.limits.max-decode-bytes"),
        )

    def training_view(self, items: Mapping[str, Item], random: np.random.Generator) -> View:
        """Returns a random view: one moment for all streams of a recording, each augmented on its own.

        Raises:
            FileError: a file cannot be used, or holds none of the streams.
        """
        with self._opened(items) as contents:
            latest = self._latest_start(contents)
            if self.streams.latest_start_seconds is not None:
                latest = min(latest, self.streams.latest_start_seconds)
            start = float(random.uniform(0.0, latest)) if latest > 0 else 0.0
            kept = self._kept(tuple(contents), random)
            return {name: contents[name].view(start, random) for name in kept}

    def evaluation_views(self, items: Mapping[str, Item]) -> Sequence[View]:
        """Returns plain views of evenly spaced moments, each in all its variants; raises as `training_view`."""
        found: list[View] = []
        with self._opened(items) as contents:
            for start in self._starts(contents):
                variants = {
                    name: self.streams.by_name[name].variants(content.view(start, None))
                    for name, content in contents.items()
                }
                for number in range(max(len(versions) for versions in variants.values())):
                    found.append({name: versions[number % len(versions)] for name, versions in variants.items()})
        return found

    def look(self, items: Mapping[str, Item], full: bool) -> StreamFacts:
        """Returns what the headers of a sample's files say; `full` decodes them as well. Raises as `training_view`."""
        found: dict[str, Facts] = {}
        absence: AbsentError | None = None
        for name, modality, item in self._present(items):
            assert not isinstance(item, np.ndarray), "arrays have no header"
            try:
                found[name] = modality.probe(item, self.limits)
                if full:
                    modality.check(item, self.limits)
            except AbsentError as error:
                absence = error
            except FileError as error:
                raise error_of_part(error, modality.column, item) from error
        if not found:
            raise self._nothing(absence)
        return found

    def conversions(self, items: Mapping[str, Item]) -> tuple[str, ...]:
        """Returns what reading a sample's files changes and people may not expect; nothing of files it cannot read."""
        try:
            facts = {} if any(isinstance(item, np.ndarray) for item in items.values()) else self.look(items, full=False)
        except FileError:
            return ()
        found = (self.streams.by_name[name].conversion(of_stream) for name, of_stream in facts.items())
        return tuple(text for text in found if text)

    def _present(self, items: Mapping[str, Item]) -> Iterator[tuple[str, Modality, Item]]:
        for name, modality in self.streams.by_name.items():
            if modality.column in items and (self.only is None or name in self.only):
                yield name, modality, items[modality.column]

    @contextmanager
    def _opened(self, items: Mapping[str, Item]) -> Iterator[dict[str, Content]]:
        with ExitStack() as stack:
            contents: dict[str, Content] = {}
            absence: AbsentError | None = None
            for name, modality, item in self._present(items):
                try:
                    contents[name] = stack.enter_context(closing(modality.open(item, self.limits)))
                except AbsentError as error:
                    absence = error
                except FileError as error:
                    raise error_of_part(error, modality.column, item) from error
            if not contents:
                raise self._nothing(absence)
            yield contents

    def _nothing(self, absence: AbsentError | None) -> FileError:
        """Returns the error of a sample that holds no stream: what its decoder said where only one could hold it."""
        names = self.only or tuple(self.streams.by_name)
        return absence if absence is not None and len(names) == 1 else FileError(f"holds none of {', '.join(names)}")

    def _latest_start(self, contents: Mapping[str, Content]) -> float:
        """Returns when the last clip begins that lies within the longest of the recordings, in seconds."""
        ends = [content.seconds for content in contents.values() if content.seconds is not None]
        clip = max((self.streams.by_name[name].clip_seconds or 0.0 for name in contents), default=0.0)
        return max(0.0, max(ends, default=0.0) - clip) if clip > 0 else 0.0

    def _starts(self, contents: Mapping[str, Content]) -> Sequence[float]:
        latest = self._latest_start(contents)
        if latest == 0.0:
            return (0.0,)
        clip = max(self.streams.by_name[name].clip_seconds or 0.0 for name in contents)
        covering = min(MOST_CLIPS, 1 + int(np.ceil(latest / clip)))
        return tuple(np.linspace(0.0, latest, self.streams.evaluation_clips or covering).tolist())

    def _kept(self, names: Sequence[str], random: np.random.Generator) -> Sequence[str]:
        """Draws which streams training leaves out; when all would go, one that was drawn at random stays."""
        if len(names) == 1:
            return names
        chances = random.uniform(size=len(names))
        kept = [
            name
            for name, chance in zip(names, chances, strict=True)
            if chance >= self.streams.by_name[name].drop_probability
        ]
        return kept or [names[int(random.integers(len(names)))]]


def _rgb(picture: np.ndarray) -> np.ndarray:
    return np.broadcast_to(picture, (*picture.shape[:2], 3))


def _widened(picture: np.ndarray, width: int) -> np.ndarray:
    """Enlarges a picture by whole pixels as far as it fits, and fills up to the width in white."""
    factor = max(1, width // picture.shape[1])
    enlarged = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    return np.pad(enlarged, ((0, 0), (0, width - enlarged.shape[1]), (0, 0)), constant_values=255)
