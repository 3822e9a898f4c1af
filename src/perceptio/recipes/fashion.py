"""Fashion-MNIST: 28 x 28 grey pictures of ten kinds of garments, read pixel by pixel."""

from dataclasses import replace

from perceptio.data.mixing import MixingConfig
from perceptio.data.splits import SplitConfig
from perceptio.inputs.grid import GridEncoding
from perceptio.modalities.image import ImageModality
from perceptio.modalities.streams import single_stream
from perceptio.models.config import PerceiverConfig
from perceptio.runs.config import RunConfig, SourceConfig
from perceptio.training.config import TrainingConfig
from perceptio.training.optimizers import OptimizerConfig
from perceptio.training.schedule import ScheduleConfig

GARMENTS = ImageModality(
    size=(28, 28),
    channels=1,
    # No augmentation: garments are all turned the same way, and in few epochs it costs points.
    crop_area=(1.0, 1.0),
    crop_aspect=(1.0, 1.0),
    flip_probability=0.0,
    randaugment_layers=0,
    evaluation_crop=1.0,
    mean=(0.286,),
    std=(0.353,),
    encoding=GridEncoding(num_bands=8),
)


def fashion_sample() -> RunConfig:
    """The demo: 12,000 training and 2,000 test pictures that come with the package, each pixel a byte.

    Expected: 84 % or more on the test pictures, in under five minutes on two CPU cores.
    """
    return RunConfig(
        recipe="fashion-sample",
        epochs=5,
        batch_size=32,
        learning_rate=2e-3,
        source=SourceConfig(format="sample"),
        split=SplitConfig(validation=1 / 12),
        streams=single_stream(GARMENTS),
        model=PerceiverConfig(
            num_latents=8,
            latent_channels=192,
            num_cross_attends=2,
            num_blocks=2,
            num_self_attends_per_block=1,
            num_cross_attend_heads=8,
            num_self_attend_heads=4,
            qk_channels=64,
            v_channels=64,
        ),
        training=TrainingConfig(
            optimizer=OptimizerConfig(kind="adamw", eps=1e-8, weight_decay=0.05, clip_norm=1.0),
            schedule=ScheduleConfig(kind="cosine", warmup_epochs=0.3),
        ),
    )


def fashion_mnist() -> RunConfig:
    """All of Fashion-MNIST with its official split; 5,000 training pictures are held out to choose the epoch.

    Bytes are patches of 4 x 4 pixels, and each of the 16 latents reads them four times with 32 heads. Needs --data: the
    folder with the four IDX files (Debian: package dataset-fashion-mnist, /usr/share/datasets/fashion-mnist). Expected:
    90.7 % on the test pictures; minutes on a GPU, about three hours on two CPU cores, where --time may make it shorter.
    """
    sample = fashion_sample()
    return replace(
        sample,
        recipe="fashion-mnist",
        epochs=40,
        batch_size=256,
        learning_rate=3e-3,
        source=SourceConfig(format="idx"),
        split=SplitConfig(validation=5_000 / 60_000),
        streams=single_stream(
            replace(
                GARMENTS,
                crop_area=(0.8, 1.0),
                crop_aspect=(0.85, 1.18),
                encoding=GridEncoding(num_bands=8, patch=(4, 4)),
            )
        ),
        model=replace(
            sample.model,
            num_latents=16,
            latent_channels=256,
            num_cross_attends=4,
            num_blocks=4,
            share_cross_attends="none",
            share_latent_transformers="none",
            num_cross_attend_heads=32,
            qk_channels=256,
            v_channels=256,
        ),
        training=replace(sample.training, mixing=MixingConfig(cutmix_share=0.5)),
    )
