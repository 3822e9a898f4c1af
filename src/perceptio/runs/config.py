"""One run as a value: everything that decides its result."""

import math
import os
from dataclasses import dataclass, field
from typing import Literal

from perceptio.choices import check_choices
from perceptio.data.limits import Limits
from perceptio.data.shards.remote import scheme_of
from perceptio.data.splits import SplitConfig
from perceptio.errors import UsageError
from perceptio.inputs.streams import StreamsInputConfig
from perceptio.modalities.image import ImageModality
from perceptio.modalities.streams import Streams, single_stream
from perceptio.models.config import PerceiverConfig
from perceptio.modules.attention import check_head_widths
from perceptio.tasks.classification import TaskConfig
from perceptio.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """Where samples come from."""

    format: Literal["auto", "folder", "manifest", "idx", "audioset", "shards", "sample"] = "auto"
    """How --data is laid out: class folders, a table of files, IDX arrays, AudioSet's lists beside its media files,
    tar shards (a folder, a pattern or a URL), the embedded sample; auto looks."""
    kinds: tuple[str, ...] = ()
    """What the files hold, such as image, or video and audio; empty: their names tell. A recipe says it itself."""
    max_skipped: float = 0.1
    """Share of files that may be unusable, from the start or since, before the run stops."""
    check: Literal["auto", "header", "full"] = "auto"
    """Read every file's header before training, or decode it whole; auto decodes sets of up to 5,000 files."""
    validation_is_test: bool = False
    """Whether a given validation split is the one to test on, as ImageNet's is; validation then comes out of train."""
    shards_together: int = 0
    """Read shards one block after the other, this many at a time, and shuffle within the block: for a server far away
    or a spinning disk. 0: shuffle everything, the better order."""
    remember: bool = True
    """Whether files that an earlier start found to be good, and that have not changed since, are looked at no more."""
    limits: Limits = field(default_factory=Limits)
    """How much a file may ask for. `predict` and `evaluate` keep to them as well."""

    def __post_init__(self) -> None:
        check_choices(self)
        if not 0.0 <= self.max_skipped < 1.0:
            raise UsageError(f"max_skipped must lie in [0, 1), got {self.max_skipped}")
        if self.shards_together < 0:
            raise UsageError(f"shards_together must be at least 0 (everything), got {self.shards_together}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run: data, model, training. A recipe returns one, the command line changes fields of it."""

    recipe: str
    """Name of the recipe it came from."""
    data: str | None = None
    """Folder, CSV, JSONL or Parquet table, or tar shards (a folder, a pattern or a URL), with the samples."""
    epochs: float
    """Passes over the training samples."""
    batch_size: int
    """Samples in one optimizer step, over all processes."""
    learning_rate: float
    """Base learning rate; the schedule moves it."""
    seed: int = 0
    """Decides weights at the start, order, augmentation, dropout and, where none is given, the split."""
    source: SourceConfig = field(default_factory=SourceConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    streams: Streams = field(default_factory=lambda: single_stream(ImageModality()))
    model: PerceiverConfig = field(default_factory=PerceiverConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be finite and greater than 0, got {getattr(self, name)}")
        parts = self.training.num_micro_batches
        if self.batch_size % parts:
            raise UsageError(
                f"training.num_micro_batches must divide batch_size: got {parts} and {self.batch_size}. "
                f"Use a batch_size of {-(-self.batch_size // parts) * parts}."
            )
        self._check_mixing()
        self._check_reading()
        if self.streams.sizes_differ and not self.input_config().accepts_other_sizes:
            raise UsageError(
                "learned positions and encoding.permutation_seed need samples of one size, and these streams give "
                "many. Use Fourier positions, or a reading that gives one size, such as image.geometry='crop'."
            )
        qk_channels, v_channels = self.model.attention_widths(self.input_config().input_channels)
        check_head_widths(
            "model.num_cross_attend_heads",
            self.model.num_cross_attend_heads,
            {"model.qk_channels": qk_channels, "model.v_channels": v_channels},
        )

    def _check_reading(self) -> None:
        inputs = self.input_config()
        if self.model.reading.method == "separable" and not any(s.is_separable for s in inputs.streams.values()):
            raise UsageError(
                "model.reading.method='separable' needs a stream with Fourier positions on a grid, and "
                f"{', '.join(inputs.streams)} has none. Leave it at 'auto'."
            )

    def _check_mixing(self) -> None:
        if not self.training.mixing.active:
            return
        modalities = tuple(self.streams.by_name.values())
        if len(modalities) > 1 or not modalities[0].blends:
            raise UsageError(
                "training.mixing blends two samples place by place, which takes a single stream of pictures, sound, "
                f"video or arrays: got {', '.join(self.streams.by_name)}. Leave it at its default."
            )
        if self.streams.sizes_differ:
            raise UsageError(
                "training.mixing needs samples of one size, and these streams give many: "
                "use image.geometry='crop', or leave training.mixing at its default."
            )

    def input_config(self) -> StreamsInputConfig:
        """Returns the model's input."""
        return self.streams.input_config()


def absolute_data(data: str | None, format: str) -> str | None:
    """Returns --data as a path that means the same from every folder; a URL stays, the embedded sample has no path."""
    if data is None or format == "sample" or not data.strip() or scheme_of(data) is not None:
        return data
    return os.path.abspath(os.path.expanduser(data))  # noqa: PTH100, PTH111 (Path keeps ".." and refuses "~nobody")
