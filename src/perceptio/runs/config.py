"""One run as a value: everything that decides its result."""

import os
from dataclasses import dataclass, field
from typing import Literal

from perceptio.data.image_config import ImageConfig
from perceptio.data.splits import SplitConfig
from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.models.config import PerceiverConfig
from perceptio.modules.attention import check_head_widths
from perceptio.tasks.classification import TaskConfig
from perceptio.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """Where samples come from."""

    format: Literal["auto", "folder", "manifest", "idx", "sample"] = "auto"
    """How --data is laid out: class folders, a table of files, IDX arrays, the embedded sample; auto looks."""
    max_skipped: float = 0.1
    """Share of files that may be unusable before the run stops."""
    check: Literal["auto", "header", "full"] = "auto"
    """Read every file's header before training, or decode it whole; auto decodes sets of up to 5,000 files."""
    validation_is_test: bool = False
    """Whether a given validation split is the one to test on, as ImageNet's is; validation then comes out of train."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.max_skipped < 1.0:
            raise ValueError(f"max_skipped must lie in [0, 1), got {self.max_skipped}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run: data, model, training. A recipe returns one, the command line changes fields of it."""

    recipe: str
    """Name of the recipe it came from."""
    data: str | None = None
    """Folder, or CSV, JSONL or Parquet table, with the samples."""
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
    image: ImageConfig = field(default_factory=ImageConfig)
    encoding: GridEncoding = field(default_factory=GridEncoding)
    model: PerceiverConfig = field(default_factory=PerceiverConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than 0, got {getattr(self, name)}")
        parts = self.training.num_micro_batches
        if self.batch_size % parts:
            raise ValueError(
                f"training.num_micro_batches must divide batch_size: got {parts} and {self.batch_size}. "
                f"Use a batch_size of {-(-self.batch_size // parts) * parts}."
            )
        if self.image.geometry == "fit":
            self._check_sizes_may_differ()
        qk_channels, v_channels = self.model.attention_widths(self.input_config().input_channels)
        check_head_widths(
            "model.num_cross_attend_heads",
            self.model.num_cross_attend_heads,
            {"model.qk_channels": qk_channels, "model.v_channels": v_channels},
        )

    def _check_sizes_may_differ(self) -> None:
        fixed = {
            "training.mixing": self.training.mixing.active,
            "encoding.positions='learned'": self.encoding.positions == "learned",
            "encoding.permutation_seed": self.encoding.permutation_seed is not None,
        }
        for name, is_set in fixed.items():
            if is_set:
                raise ValueError(
                    f"{name} needs images of one size: image.geometry='fit' gives many. "
                    f"Use image.geometry='crop', or leave {name.split('=')[0]} at its default."
                )

    def input_config(self) -> GridInputConfig:
        """Returns the model's input: the images' size and channels, and the encoding."""
        return GridInputConfig(axes=self.image.size, channels=self.image.channels, encoding=self.encoding)


def absolute_data(data: str | None, format: str) -> str | None:
    """Returns --data as a path that means the same from every folder; the embedded sample has a name and no path."""
    if data is None or format == "sample" or not data.strip():
        return data
    return os.path.abspath(os.path.expanduser(data))  # noqa: PTH100, PTH111 (Path keeps ".." and refuses "~nobody")
