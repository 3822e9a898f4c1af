"""ImageNet as in the paper (section 4.1, App. C, Tab. 1 and 2)."""

from dataclasses import replace

from perceptio.data.splits import SplitConfig
from perceptio.inputs.grid import GridEncoding
from perceptio.modalities.image import ImageModality
from perceptio.modalities.streams import single_stream
from perceptio.models.config import PerceiverConfig
from perceptio.runs.config import RunConfig, SourceConfig
from perceptio.training.config import TrainingConfig
from perceptio.training.optimizers import OptimizerConfig
from perceptio.training.schedule import ScheduleConfig


def imagenet() -> RunConfig:
    """Tab. 1, "Perceiver (FF)": 78.0 % top-1 on the 50,000 validation images, 44.9M parameters, 707.2 GFLOPs.

    512 latents x 1,024 channels, 8 cross-attends, each followed by 6 self-attention layers, weights shared but for
    the first cross-attend; 224 x 224 pixels, each a byte of 261 channels. 120 epochs of LAMB at 0.004, times 0.1 after
    epochs 84, 102 and 114. The paper used up to 64 TPUs.

    Needs --data: the usual folders `train/CLASS/*.JPEG` and `val/CLASS/*.JPEG`. The official validation images are the
    test split here; the epoch is chosen on images held out of train.
    """
    return RunConfig(
        recipe="imagenet",
        epochs=120,
        # Not in the paper: the batch size. Perceiver IO's re-run used 1,024 on 64 TPUs.
        batch_size=1024,
        learning_rate=0.004,
        source=SourceConfig(format="folder", validation_is_test=True),
        # The official code holds 10,000 of the 1,281,167 training images out to choose on, too.
        split=SplitConfig(validation=10_000 / 1_281_167),
        streams=single_stream(
            ImageModality(
                # Not in the paper, which says "Inception-style preprocessing" and RandAugment: mirroring, RandAugment's
                # number of operations and magnitude, the colours' mean and deviation. Taken from the official code.
                flip_probability=0.5,
                randaugment_layers=4,
                randaugment_magnitude=5,
                mean=(0.485, 0.456, 0.406),
                std=(0.229, 0.224, 0.225),
            )
        ),
        # Not in the paper: heads of the self-attention layers and the kind of GELU. Taken from the official code.
        model=PerceiverConfig(num_self_attend_heads=8, gelu="tanh"),
        training=TrainingConfig(
            # Not in the paper: betas, eps, weight decay, clipping. Taken from the official code of Perceiver IO.
            optimizer=OptimizerConfig(kind="lamb", weight_decay=0.1, clip_norm=10.0),
            # No warm-up: the paper mentions none.
            schedule=ScheduleConfig(kind="steps", decay_epochs=(84.0, 102.0, 114.0)),
        ),
    )


def imagenet_permuted() -> RunConfig:
    """Tab. 2, "Perceiver (FF)", permuted: 78.0 % as well (ResNet-50 falls from 73.5 to 39.4, ViT-B-16 to 61.7).

    One fixed permutation of the pixels, the same for all images, after the positions are attached. The function is
    the same as without: this recipe shows it. All else as `imagenet`.
    """
    base = imagenet()
    pictures = base.streams.by_name["image"]
    assert isinstance(pictures, ImageModality)
    permuted = replace(pictures, encoding=replace(pictures.encoding, permutation_seed=0))
    return replace(base, recipe="imagenet-permuted", streams=single_stream(permuted))


def imagenet_learned() -> RunConfig:
    """Tab. 2, "Perceiver (Learned pos.)": 70.9 % top-1, raw or permuted.

    A learned vector of 128 channels per pixel instead of Fourier features, init scale 1.0 (App. B), and a single
    cross-attend: eight were unstable. 48,189,577 parameters by the formulas; the paper gives no count.
    """
    base = imagenet()
    pictures = base.streams.by_name["image"]
    assert isinstance(pictures, ImageModality)
    encoding = GridEncoding(positions="learned", learned_channels=128, learned_init_std=1.0)
    return replace(
        base,
        recipe="imagenet-learned",
        streams=single_stream(replace(pictures, encoding=encoding)),
        model=replace(base.model, num_cross_attends=1),
    )
