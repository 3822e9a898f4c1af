"""Recipes for real data that anyone can get, one for each kind of file: benchmarks/datasets prepares it.

Found by trying on validation samples alone; what each reaches on its test samples is in docs/results.
"""

from dataclasses import replace

from perceptio.data.mixing import MixingConfig
from perceptio.data.spec_augment import SpecAugment
from perceptio.data.splits import SplitConfig
from perceptio.inputs.grid import GridEncoding
from perceptio.modalities.audio import AudioModality
from perceptio.modalities.points import PointsModality
from perceptio.modalities.streams import Streams, single_stream
from perceptio.modalities.video import VideoModality
from perceptio.models.config import PerceiverConfig
from perceptio.runs.config import RunConfig, SourceConfig
from perceptio.tasks.classification import TaskConfig
from perceptio.training.config import TrainingConfig
from perceptio.training.optimizers import OptimizerConfig
from perceptio.training.schedule import ScheduleConfig

_SMALL = PerceiverConfig(
    num_latents=16,
    latent_channels=128,
    num_cross_attends=2,
    num_blocks=2,
    num_self_attends_per_block=2,
    num_cross_attend_heads=8,
    num_self_attend_heads=4,
    qk_channels=128,
    v_channels=128,
)
_ADAMW = TrainingConfig(
    optimizer=OptimizerConfig(kind="adamw", eps=1e-8, weight_decay=0.05, clip_norm=1.0),
    schedule=ScheduleConfig(kind="cosine", warmup_epochs=1.0),
)


def _recipe(name: str, streams: Streams, *, epochs: float, split: SplitConfig) -> RunConfig:
    return RunConfig(
        recipe=name,
        epochs=epochs,
        batch_size=32,
        learning_rate=1e-3,
        source=SourceConfig(format="manifest"),
        split=split,
        streams=streams,
        model=_SMALL,
        training=_ADAMW,
    )


def drum_hits() -> RunConfig:
    """Drum hits of 13 kits, seven kinds: one kit is the test, and nothing of it is in training.

    Each hit is its first 1.28 s as a log-mel spectrogram. Needs --data: a fold's table, as
    `benchmarks/datasets/drum_hits.py` writes it, such as drum-hits/fold-ForzeeStereo.csv.
    """
    streams = replace(
        single_stream(
            AudioModality(
                sample_rate_hz=32_000,
                clip_samples=40_960,
                hop=512,
                window=1024,
                mel_bins=48,
                gain_db=12.0,
                spec_augment=SpecAugment(
                    num_time_masks=2, max_time_frames=16, num_frequency_masks=2, max_frequency_bins=8
                ),
                encoding=GridEncoding(patch=(4, 4), num_bands=10),
            )
        ),
        # A hit is told by its beginning.
        latest_start_seconds=0.02,
        evaluation_clips=1,
    )
    recipe = _recipe("drum-hits", streams, epochs=40, split=SplitConfig(validation=0.08))
    return replace(
        recipe,
        task=TaskConfig(class_balance=0.5),
        # What a single step does to a kit that was never heard is mostly chance; the average of a hundred is steadier.
        training=replace(_ADAMW, mixing=MixingConfig(mixup_share=1.0, mixup_alpha=0.2), average_decay=0.99),
    )


def electronic_parts() -> RunConfig:
    """Electronic parts, 20 families of meshes: the templates of the test are in no training file.

    512 points of each surface with their normals, its axes stretched at random: 726 templates are few, and are known
    by their proportions otherwise. Needs --data: the folder that `benchmarks/datasets/electronic_parts.py` writes.
    """
    streams = single_stream(
        # Bands up to 8: the paper's, up to 1,120, tell points apart that are no farther than a surface is rough.
        PointsModality(num_points=512, normals=True, num_bands=8, max_frequency=8.0, stretch=1.35, jitter=0.01)
    )
    recipe = _recipe("electronic-parts", streams, epochs=40, split=SplitConfig(validation=0.15, test=0.25))
    return replace(recipe, task=TaskConfig(label_smoothing=0.1))


def moving_garments() -> RunConfig:
    """Garments that move one way and then another, twelve pairs in order: no single frame tells the class.

    16 frames of 48 x 48 pixels in patches of 2 x 6 x 6. Needs --data: the folder that
    `benchmarks/datasets/moving_garments.py` writes.
    """
    streams = single_stream(
        VideoModality(
            num_frames=16,
            frames_per_second=12.5,
            size=(48, 48),
            channels=1,
            # Nothing may turn right into left, or move what moves.
            crop_area=(1.0, 1.0),
            crop_aspect=(1.0, 1.0),
            flip_probability=0.0,
            colour_strength=0.0,
            evaluation_crop=1.0,
            mean=(0.1,),
            std=(0.25,),
            encoding=GridEncoding(patch=(2, 6, 6), num_bands=6),
        )
    )
    return _recipe("moving-garments", streams, epochs=30, split=SplitConfig(validation=0.1))


def stamps() -> RunConfig:
    """Stamps and their spoken names in one mp4, 36 classes: category of the picture x language of the voice.

    16 frames of 64 x 64 pixels and the log-mel spectrogram of the same 1.28 s, told apart by learned encodings; each
    is left out of a fifth of the training samples, so that either alone can be used. Needs --data: the folder that
    `benchmarks/datasets/stamps.py` writes.
    """
    streams = Streams(
        by_name={
            "video": VideoModality(
                num_frames=16,
                frames_per_second=12.5,
                size=(64, 64),
                crop_area=(0.5, 1.0),
                evaluation_crop=1.0,
                encoding=GridEncoding(patch=(4, 8, 8), num_bands=8),
                drop_probability=0.2,
            ),
            "audio": AudioModality(
                sample_rate_hz=16_000,
                clip_samples=20_480,
                hop=256,
                window=512,
                mel_bins=48,
                gain_db=6.0,
                spec_augment=SpecAugment(
                    num_time_masks=2, max_time_frames=12, num_frequency_masks=2, max_frequency_bins=6
                ),
                encoding=GridEncoding(patch=(4, 6), num_bands=10),
                drop_probability=0.2,
            ),
        }
    )
    return _recipe("stamps", streams, epochs=40, split=SplitConfig(validation=0.15))
