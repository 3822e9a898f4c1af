"""What a modality is: one value that says how files of a kind become arrays, a byte array and pictures.

Everything above this layer (runs, reports, recipes, commands) knows modalities by these methods alone. A new one is a
new class, named in `registry`; nothing else changes.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np

from perceptio.data.items import File, Item
from perceptio.data.limits import Limits
from perceptio.inputs.contract import StreamInputConfig
from perceptio.shapes import Tensor

Facts: TypeAlias = Mapping[str, float]
"""What the header of a file says, such as {"height": 480, "width": 640}; each modality has its own keys."""


@runtime_checkable
class Content(Protocol):
    """One opened sample, from which any number of views can be taken."""

    @property
    def seconds(self) -> float | None:
        """How long it lasts; None where it has no time."""

    def view(self, start: float, random: np.random.Generator | None) -> np.ndarray:
        """Returns what the model is to see: an array with channels last.

        Args:
            start: where the view begins, in seconds; 0 for content without time. A clip that reaches past the end is
                filled up as the modality says.
            random: draws the augmentation of a training view; None: the plain view of evaluation and prediction.

        Raises:
            FileError: the content turns out to be damaged.
        """

    def close(self) -> None:
        """Lets go of the file."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A modality with settings that suit some files, and why, as a sentence without a full stop.

    Options in the sentence bear the name of the kind (`--image.size`); under which name the stream goes, the planner
    knows.
    """

    modality: "Modality"
    why: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Film:
    """A view as it moves, with one score for each token.

    Attributes:
        pictures: uint8 (frames, height, width, 1 or 3).
        maps: (frames, rows, columns), laid out as the pictures, as fine or coarser by whole factors.
        frames_per_second: rate.
    """

    pictures: np.ndarray
    maps: np.ndarray
    frames_per_second: float


@dataclass(frozen=True, kw_only=True)
class Modality(ABC):
    """How files of one kind are read and shown. Subclasses are frozen dataclasses: their fields are the options."""

    kind: ClassVar[str]
    """Name of the kind, such as "image": in configs, options and messages."""
    suffixes: ClassVar[frozenset[str]]
    """Lower-case file suffixes, with the dot, by which a folder is told to hold this kind."""
    asked_suffixes: ClassVar[frozenset[str]] = frozenset()
    """Suffixes of files that are read only where the kind is asked for: by themselves they tell nothing, or another."""
    companions: ClassVar[tuple[str, ...]] = ()
    """Kinds that the same file may hold as well, such as the sound of a video."""
    blends: ClassVar[bool] = False
    """Whether the weighted sum of two prepared samples is a sensible sample (mixup, cutmix)."""
    layout_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that say how files are laid out: they must hold before files are looked at, and what is chosen from the
    look keeps them."""

    column: str = ""
    """Which column of a table, or which kind in a folder of several, holds the files; empty: the only one."""
    drop_probability: float = 0.0
    """How often training leaves this stream out of a sample, so that the model learns to do without it."""

    @property
    def sizes_differ(self) -> bool:
        """Whether views of different samples may have different sizes: a batch then pads them."""
        return False

    @property
    def clip_seconds(self) -> float | None:
        """How much time one view covers; None where there is no time."""
        return None

    def summary(self, facts: Sequence[Facts]) -> str:
        """Returns what files with these facts are like, for people, such as "640 x 480 pixels (median)"; or nothing."""
        return ""

    def conversion(self, facts: Facts) -> str:
        """Returns what reading a file with these facts changes unexpectedly, such as its rate; or nothing."""
        return ""

    @abstractmethod
    def input_config(self) -> StreamInputConfig:
        """Returns size and position encoding of the model's input."""

    @abstractmethod
    def shrunk(self) -> "Modality":
        """Returns the same at the smallest size that keeps its structure, for a trial run in seconds."""

    @abstractmethod
    def describe(self) -> str:
        """Returns the size of a view for people, such as "224 x 224 x 3"."""

    @abstractmethod
    def probe(self, file: File, limits: Limits) -> Facts:
        """Returns what the header of a file says: quick, and it proves little about the rest.

        Raises:
            AbsentError: the file is whole but holds nothing of this kind.
            FileError: the file cannot be used. One line, without a path.
            MissingExtraError: the decoder is not installed.
            OSError: the disk or the network failed, which says nothing about the file.
        """

    def admit(self, facts: Facts) -> None:
        """Raises FileError when a file with these facts cannot be read with these very settings."""
        return None

    def sizes(self, facts: Facts) -> Mapping[str, float]:
        """Returns those of a file's facts that say how large it is, by a name for people with its unit."""
        return {name.replace("_", " "): value for name, value in facts.items()}

    @abstractmethod
    def check(self, file: File, limits: Limits) -> None:
        """Decodes a whole file to find out whether it is sound, with any settings; raises as `probe`."""

    @abstractmethod
    def open(self, item: Item, limits: Limits) -> Content:
        """Opens a sample; raises as `probe`."""

    def variants(self, view: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the versions of an evaluation view, such as its mirror image, whose answers are averaged."""
        return (view,)

    @abstractmethod
    def prepare(self, values: Tensor) -> Tensor:
        """Returns a batch of views, (B, .., channels) in their own dtype, as float32 model input."""

    @abstractmethod
    def picture(self, values: np.ndarray) -> np.ndarray:
        """Returns a view as a picture for people: uint8 (height, width, 1 or 3)."""

    @abstractmethod
    def spread(self, values: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Returns one score for each token, in the shape of the token axes, laid out as `picture` lays out the view.

        The result is (rows, columns), as fine as the picture or coarser by whole factors; NaN where no token is.
        """

    def film(self, values: np.ndarray, scores: np.ndarray) -> Film | None:
        """Returns a view with its scores as it moves; None for what does not move. Arguments as in `spread`."""
        return None

    @classmethod
    @abstractmethod
    def candidates(cls, facts: Sequence[Facts]) -> tuple[Candidate, ...]:
        """Returns settings that suit files with these facts, the cheapest first; the planner takes what it can afford.

        Args:
            facts: what `probe` found, one entry a file; empty where samples are no files.
        """
