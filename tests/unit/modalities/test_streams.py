"""One clock, dropped streams, clips and variants, on modalities that show when and how they were looked at."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from perceptio.data.limits import Limits
from perceptio.data.records import MAIN, Item
from perceptio.errors import AbsentError, FileError, UsageError
from perceptio.inputs.grid import GridInputConfig
from perceptio.modalities.contract import Candidate, Facts, Modality
from perceptio.modalities.streams import MOST_CLIPS, StreamReader, Streams, single_stream
from perceptio.randomness import generator
from perceptio.shapes import Tensor

OPEN: list[str] = []


@dataclass
class Tape:
    """Content whose view is where it was taken from, and one number that it drew."""

    name: str
    length: float | None

    def __post_init__(self) -> None:
        OPEN.append(self.name)

    @property
    def seconds(self) -> float | None:
        return self.length

    def view(self, start: float, random: np.random.Generator | None) -> np.ndarray:
        return np.array([[start, 0.0 if random is None else random.random(), len(self.name)]])

    def close(self) -> None:
        OPEN.remove(self.name)


@dataclass(frozen=True, kw_only=True)
class Fake(Modality):
    """A sample is an array with its length in seconds; none: no time. Below 0: damaged; not a number: not there."""

    kind: ClassVar[str] = "fake"
    suffixes: ClassVar[frozenset[str]] = frozenset({".fake"})

    clip: float | None = None
    name: str = "fake"
    flips: int = 1
    picture_shape: tuple[int, int, int] = field(default=(2, 3, 1))

    @property
    def clip_seconds(self) -> float | None:
        return self.clip

    def input_config(self) -> GridInputConfig:
        return GridInputConfig(axes=(11,), channels=3)

    def shrunk(self) -> "Fake":
        return self

    def describe(self) -> str:
        return f"11 x {len(self.name)}"

    def probe(self, path: Path, limits: Limits) -> Facts:
        return {"seconds": self._length(np.array([float(path.read_text().split()[0])]))}

    def admit(self, facts: Facts) -> None:
        if facts["seconds"] > 100:
            raise FileError(f"{self.name} lasts {facts['seconds']:g} s")

    def check(self, path: Path, limits: Limits) -> None:
        if path.read_text().endswith("cut"):
            raise FileError("truncated")

    def open(self, item: Item, limits: Limits) -> Tape:
        assert isinstance(item, np.ndarray)
        return Tape(self.name, self._length(item) if len(item) else None)

    def _length(self, values: np.ndarray) -> float:
        if np.isnan(values[0]):
            raise AbsentError(f"holds no {self.name}")
        if values[0] < 0:
            raise FileError("is damaged")
        return float(values[0])

    def variants(self, view: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(view + 1000 * number for number in range(self.flips))

    def prepare(self, values: Tensor) -> Tensor:
        return values * len(self.name)

    def picture(self, values: np.ndarray) -> np.ndarray:
        return np.full(self.picture_shape, len(self.name), np.uint8)

    def spread(self, values: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return scores[None]

    @classmethod
    def candidates(cls, facts: Sequence[Facts]) -> tuple[Candidate, ...]:
        return (Candidate(modality=cls(), why="as it is"),)


@pytest.fixture(autouse=True)
def everything_is_closed():
    OPEN.clear()
    yield
    assert OPEN == [], "what was opened is closed again, also after an error"


def streams_of(*, sound: dict[str, Any] | None = None, film: dict[str, Any] | None = None, **fields: Any) -> Streams:
    """A film in clips of 2 s and its sound in clips of 1.25 s, each in its own column."""
    return Streams(
        by_name={
            "film": Fake(column="film", name="film", **{"clip": 2.0, **(film or {})}),
            "sound": Fake(column="sound", name="sound", **{"clip": 1.25, **(sound or {})}),
        },
        **fields,
    )


def reader_of(streams: Streams, **fields: Any) -> StreamReader:
    return StreamReader(streams, Limits(), **fields)


def lasting(**seconds: float | None) -> dict[str, np.ndarray]:
    return {name: np.array([] if length is None else [length]) for name, length in seconds.items()}


def starts(views: Sequence[dict[str, np.ndarray]], name: str) -> list[float]:
    return [float(view[name][0, 0]) for view in views]


def test_a_training_view_takes_all_streams_from_one_moment():
    reader, found = reader_of(streams_of()), []
    for number in range(300):
        view = reader.training_view(lasting(film=7.0, sound=5.0), generator(0, "test", number))
        assert view["film"][0, 0] == view["sound"][0, 0]
        assert view["film"][0, 1] != view["sound"][0, 1], "each augments on its own"
        found.append(float(view["film"][0, 0]))
    # Up to the longest recording less the longest clip; 300 even draws come within 2 % of both ends with chance
    # 1 - 2 x 0.98^300, and their mean lies within five of its deviations.
    assert 0.0 <= min(found) < 0.1
    assert 4.9 < max(found) <= 5.0
    assert np.mean(found) == pytest.approx(2.5, abs=5 * 5 / np.sqrt(12 * 300))


def test_training_may_keep_to_the_beginning_of_a_recording():
    """Evaluation still covers all of it."""
    for latest, expected in ((0.0, 0.0), (1.5, 1.5), (99.0, 5.0)):
        reader = reader_of(streams_of(latest_start_seconds=latest))
        items = lasting(film=7.0, sound=5.0)
        found = starts([reader.training_view(items, generator(0, "test", number)) for number in range(300)], "film")
        assert 0.97 * expected <= max(found) <= expected
        assert starts(reader.evaluation_views(items), "film")[-1] == 5.0


def test_a_training_view_depends_on_its_generator_alone():
    reader = reader_of(streams_of(sound={"drop_probability": 0.5}))
    for number in range(20):
        first, second = (
            reader.training_view(lasting(film=7.0, sound=5.0), generator(0, "test", number)) for _ in range(2)
        )
        assert set(first) == set(second)
        assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("seconds", [{"film": 2.0, "sound": 1.0}, {"film": 0.5, "sound": 0.1}, {"film": None}])
def test_what_is_no_longer_than_a_clip_begins_at_its_start(seconds: dict[str, float | None]):
    reader, items = reader_of(streams_of()), lasting(**seconds)
    for number in range(20):
        view = reader.training_view(items, generator(0, "test", number))
        assert {float(values[0, 0]) for values in view.values()} == {0.0}
    assert starts(reader.evaluation_views(items), "film") == [0.0]


def test_a_stream_without_time_follows_the_clock_of_the_others():
    """A picture beside a recording: shown with each clip."""
    streams = Streams(by_name={"film": Fake(column="film", name="film"), "sound": Fake(column="sound", clip=2.0)})
    views = reader_of(streams, only=None).evaluation_views(lasting(film=None, sound=7.0))
    assert starts(views, "film") == starts(views, "sound") == pytest.approx([0.0, 5 / 3, 10 / 3, 5.0])


def test_streams_are_dropped_as_often_as_they_say_and_never_all():
    film, sound, draws = 0.3, 0.6, 4_000
    reader = reader_of(streams_of(film={"drop_probability": film}, sound={"drop_probability": sound}))
    seen = [
        frozenset(reader.training_view(lasting(film=7.0, sound=5.0), generator(0, "test", number)))
        for number in range(draws)
    ]
    # Both would go in 18 % of the cases; then one of them, drawn evenly, stays.
    expected = {
        frozenset({"film", "sound"}): (1 - film) * (1 - sound),
        frozenset({"film"}): (1 - film) * sound + film * sound / 2,
        frozenset({"sound"}): film * (1 - sound) + film * sound / 2,
    }
    assert set(seen) == set(expected)
    for names, probability in expected.items():
        deviation = np.sqrt(probability * (1 - probability) / draws)
        assert seen.count(names) / draws == pytest.approx(probability, abs=5 * deviation), names


def test_a_stream_that_is_alone_in_its_sample_is_not_dropped():
    reader = reader_of(streams_of(film={"drop_probability": 0.9}))
    for number in range(20):
        assert set(reader.training_view(lasting(film=7.0), generator(0, "test", number))) == {"film"}


def test_evaluation_drops_nothing_and_draws_nothing():
    reader = reader_of(streams_of(film={"drop_probability": 0.9}, sound={"drop_probability": 0.9}))
    for view in reader.evaluation_views(lasting(film=7.0, sound=5.0)):
        assert {name: float(values[0, 1]) for name, values in view.items()} == {"film": 0.0, "sound": 0.0}


@pytest.mark.parametrize("clips", [1, 3, 16])
def test_evaluation_clips_are_evenly_spaced_from_start_to_end(clips: int):
    views = reader_of(streams_of(evaluation_clips=clips)).evaluation_views(lasting(film=7.0, sound=5.0))
    assert starts(views, "film") == pytest.approx(np.linspace(0.0, 5.0, clips).tolist())
    assert starts(views, "sound") == starts(views, "film")


@pytest.mark.parametrize(("seconds", "clips"), [(2.0, 1), (2.1, 2), (4.0, 2), (4.1, 3), (7.0, 4), (1e6, MOST_CLIPS)])
def test_clips_cover_a_recording_unless_their_number_is_given(seconds: float, clips: int):
    found = starts(reader_of(streams_of()).evaluation_views(lasting(film=seconds, sound=1.0)), "film")
    assert len(found) == clips
    assert found[0] == 0.0
    assert found[-1] == pytest.approx(seconds - 2.0)
    if clips < MOST_CLIPS:
        assert max(np.diff(found), default=0.0) <= 2.0, "no gap between two clips"


def test_each_moment_is_seen_in_all_variants():
    """The stream with fewer of them begins again."""
    streams = streams_of(film={"flips": 3}, sound={"flips": 2}, evaluation_clips=2)
    views = reader_of(streams).evaluation_views(lasting(film=7.0, sound=5.0))
    assert starts(views, "film") == [0.0, 1000.0, 2000.0, 5.0, 1005.0, 2005.0]
    assert starts(views, "sound") == [0.0, 1000.0, 0.0, 5.0, 1005.0, 5.0]


NAN = float("nan")


def test_a_stream_that_the_file_does_not_hold_is_left_out():
    reader = reader_of(streams_of())
    items = lasting(film=7.0, sound=NAN)
    assert set(reader.training_view(items, generator(0, "test"))) == {"film"}
    assert [set(view) for view in reader.evaluation_views(items)] == [{"film"}] * 4


def test_a_sample_that_holds_nothing_is_an_error():
    reader = reader_of(streams_of())
    for items in (lasting(film=NAN, sound=NAN), {}, lasting(other=7.0)):
        for read in (reader.evaluation_views, lambda given: reader.training_view(given, generator(0, "test"))):
            with pytest.raises(FileError, match=r"^holds none of film, sound$"):
                read(items)
    alone = reader_of(single_stream(Fake(name="film", clip=2.0)))
    with pytest.raises(AbsentError, match=r"^holds no film$"):
        alone.evaluation_views({MAIN: np.array([NAN])})


def test_a_damaged_part_spoils_the_sample(tmp_path: Path):
    with pytest.raises(FileError, match=r"^is damaged$"):
        reader_of(streams_of()).evaluation_views(lasting(film=7.0, sound=-1.0))
    path = tmp_path / "a.fake"
    path.write_text("-1")
    for full in (False, True):
        with pytest.raises(FileError, match=r"^sound \(a\.fake\): is damaged$"):
            reader_of(streams_of()).look({"sound": path}, full)


def test_only_the_streams_that_are_asked_for_are_opened():
    reader = reader_of(streams_of(), only=("sound",))
    views = reader.evaluation_views(lasting(film=-1.0, sound=5.0))
    assert [set(view) for view in views] == [{"sound"}] * 4, "clips of the sound's own length; the film is not opened"
    with pytest.raises(FileError, match=r"^holds none of sound$"):
        reader.evaluation_views(lasting(film=7.0))
    with pytest.raises(AbsentError, match=r"^holds no sound$"):
        reader.evaluation_views(lasting(film=7.0, sound=NAN))


def written(folder: Path, **content: str) -> dict[str, Path]:
    paths = {name: folder / f"{name}.fake" for name in content}
    for name, path in paths.items():
        path.write_text(content[name])
    return paths


def test_a_look_tells_facts_by_stream_and_decodes_only_if_asked(tmp_path: Path):
    reader = reader_of(streams_of())
    items = written(tmp_path, film="7", sound="nan")
    assert reader.look(items, False) == reader.look(items, True) == {"film": {"seconds": 7.0}}
    items = written(tmp_path, film="7", sound="5")
    assert reader.look(items, True) == {"film": {"seconds": 7.0}, "sound": {"seconds": 5.0}}
    items = written(tmp_path, film="7", sound="5 cut")
    assert set(reader.look(items, False)) == {"film", "sound"}
    with pytest.raises(FileError, match=r"^sound \(sound\.fake\): truncated$"):
        reader.look(items, True)
    with pytest.raises(FileError, match=r"^holds none of film, sound$"):
        reader.look(written(tmp_path, film="nan", sound="nan"), False)
    with pytest.raises(AbsentError, match=r"^holds no film$"):
        reader_of(single_stream(Fake(name="film"))).look({MAIN: tmp_path / "film.fake"}, False)


def test_settings_admit_a_sample_or_say_why_not():
    streams = streams_of()
    streams.admit({"film": {"seconds": 7.0}})
    with pytest.raises(FileError, match=r"^sound lasts 101 s$"):
        streams.admit({"film": {"seconds": 7.0}, "sound": {"seconds": 101.0}})


def test_a_model_is_given_what_each_stream_prepares():
    found = streams_of().prepare("sound", torch.ones(2, 3))
    assert torch.equal(found, torch.full((2, 3), 5.0))
    config = streams_of(modality_channels=7, absent="zeros").input_config()
    assert list(config.streams) == ["film", "sound"]
    assert (config.modality_channels, config.absent) == (7, "zeros")


def test_streams_are_described_and_shown_below_each_other():
    streams = streams_of(film={"picture_shape": (2, 3, 1)}, sound={"picture_shape": (3, 7, 3)})
    assert streams.describe() == "film 11 x 4 and sound 11 x 5"
    assert single_stream(Fake()).describe() == "11 x 4"
    picture = streams.picture({"film": np.zeros(1), "sound": np.zeros(1)})
    assert (picture.shape, picture.dtype) == ((7, 7, 3), np.uint8)
    assert np.unique(picture[:4, :6]).tolist() == [4], "twice as large, which is as far as it fits"
    assert np.unique(picture[:4, 6:]).tolist() == [255]
    assert np.unique(picture[4:]).tolist() == [5]


@pytest.mark.parametrize(("timed", "clips", "views"), [(True, 16, 16), (True, 0, 1), (False, 16, 1)])
def test_how_many_views_to_expect(timed: bool, clips: int, views: int):
    streams = Streams(by_name={"film": Fake(clip=2.0 if timed else None)}, evaluation_clips=clips)
    assert streams.views_a_sample == views


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"by_name": {}}, "a model needs at least one stream; none is given"),
        ({"modality_channels": 0}, "modality_channels must be at least 1: got 0"),
        ({"evaluation_clips": -1}, "evaluation_clips must be at least 0 (as many as cover it): got -1"),
        ({"latest_start_seconds": -0.5}, "latest_start_seconds must be at least 0, or None: got -0.5"),
        ({"by_name": {"a": Fake(drop_probability=1.0)}}, "a.drop_probability must lie in [0, 1): got 1.0"),
        (
            {"by_name": {"a": Fake(drop_probability=0.1)}},
            "a.drop_probability needs another stream to fall back on; leave it at 0 with a single stream",
        ),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        replace(streams_of(), **fields)


def test_unknown_streams_are_named():
    streams_of().check_names(["sound", "film"])
    with pytest.raises(UsageError, match=r"^the model has no stream 'audio'; it has film, sound$"):
        streams_of().check_names(["sound", "audio"])
