"""The smallest run that still has every part: about 10,000 parameters, pictures of 16 x 16."""

from dataclasses import replace
from pathlib import Path

from perceptio.data.mixing import MixingConfig
from perceptio.data.splits import SplitConfig
from perceptio.inputs.grid import GridEncoding
from perceptio.modalities.image import ImageModality
from perceptio.modalities.streams import single_stream
from perceptio.models.config import PerceiverConfig
from perceptio.runs.config import RunConfig
from perceptio.training.config import TrainingConfig
from perceptio.training.optimizers import OptimizerConfig
from perceptio.training.schedule import ScheduleConfig
from support.pictures import SIDE

TINY_MODEL = PerceiverConfig(
    num_latents=5,
    latent_channels=24,
    num_cross_attends=2,
    num_blocks=2,
    num_self_attends_per_block=1,
    num_self_attend_heads=2,
)


TINY_PICTURES = ImageModality(
    size=(SIDE, SIDE),
    crop_area=(0.8, 1.0),
    randaugment_layers=0,
    evaluation_crop=1.0,
    encoding=GridEncoding(num_bands=3),
)


def tiny_config(data: Path | None = None, *, epochs: float = 3.0) -> RunConfig:
    """Returns a run on pictures of `make_picture_folder`; learns them in about twenty epochs."""
    return RunConfig(
        recipe="tiny",
        data=None if data is None else str(data),
        epochs=epochs,
        batch_size=8,
        learning_rate=3e-3,
        split=SplitConfig(validation=0.2, test=0.2),
        streams=single_stream(TINY_PICTURES),
        model=TINY_MODEL,
        training=TrainingConfig(
            optimizer=OptimizerConfig(kind="adamw", eps=1e-8, weight_decay=0.05, clip_norm=1.0),
            schedule=ScheduleConfig(kind="cosine"),
        ),
    )


def everything_random(config: RunConfig) -> RunConfig:
    """Returns the run with each source of randomness on: dropout, augmentation, mixup, cutmix; and accumulation."""
    return replace(
        config,
        model=replace(config.model, dropout=0.1, attention_dropout=0.1),
        streams=single_stream(replace(TINY_PICTURES, crop_area=(0.5, 1.0), randaugment_layers=1)),
        training=replace(
            config.training,
            mixing=MixingConfig(mixup_share=0.4, mixup_alpha=0.4, cutmix_share=0.3),
            num_micro_batches=2,
            optimizer=replace(config.training.optimizer, kind="lamb", eps=1e-6),
        ),
    )
