"""One run as a value: everything that decides its result."""

from dataclasses import dataclass, field
from typing import Literal

from perceptio.data.image_config import ImageConfig
from perceptio.data.splits import SplitConfig
from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.models.config import PerceiverConfig
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
        if self.image.geometry == "fit" and self.training.mixing.active:
            raise ValueError(
                "training.mixing needs images of one size: image.geometry='fit' gives many. "
                "Use image.geometry='crop', or leave mixing off."
            )
        self.input_config()

    def input_config(self) -> GridInputConfig:
        """Returns the model's input: the images' size and channels, and the encoding."""
        return GridInputConfig(axes=self.image.size, channels=self.image.channels, encoding=self.encoding)
