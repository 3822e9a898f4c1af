"""AudioSet as in the paper (section 4.2, Tab. 3): sound, video and both, 527 classes, any number of them a clip."""

from dataclasses import replace

from perceptio.data.spec_augment import SpecAugment
from perceptio.data.splits import SplitConfig
from perceptio.inputs.grid import GridEncoding
from perceptio.modalities.audio import AudioModality
from perceptio.modalities.contract import Modality
from perceptio.modalities.streams import Streams
from perceptio.modalities.video import VideoModality
from perceptio.models.config import PerceiverConfig
from perceptio.runs.config import RunConfig, SourceConfig
from perceptio.tasks.classification import TaskConfig
from perceptio.training.config import TrainingConfig
from perceptio.training.optimizers import OptimizerConfig
from perceptio.training.schedule import ScheduleConfig

VIDEO_DROPOUT = 0.3
SPECTROGRAM_DROPOUT = 0.1


def audioset_raw() -> RunConfig:
    """Tab. 3, "Perceiver (raw audio)", audio: 38.3 mAP.

    1.28 s of sound at 48 kHz, 61,440 samples in 480 segments of 128. Augmentation is the clip's place in time alone.

    Needs --data: AudioSet's class list and segment lists beside the media files one has got, named by video
    (--PJHxphWEs.mp4, --PJHxphWEs_30.000.wav). 16 overlapping clips of each test segment are averaged.
    """
    return _audioset("audioset-raw", {"audio": _waveform()})


def audioset_mel() -> RunConfig:
    """Tab. 3, "Perceiver (mel spectrogram)", audio: 38.4 mAP.

    1.28 s of sound as 4,800 log-mel values, each a byte; SpecAugment. Data as `audioset-raw`.
    """
    return _audioset("audioset-mel", {"audio": _spectrogram()})


def audioset_video() -> RunConfig:
    """Tab. 3, video: 25.8 mAP.

    32 frames of 224 x 224 pixels at 25 frames a second, in 12,544 patches of 2 x 8 x 8. Data as `audioset-raw`.
    """
    return _audioset("audioset-video", {"video": VideoModality()})


def audioset_raw_video() -> RunConfig:
    """Tab. 3, "Perceiver (raw audio)", A+V: 43.5 mAP; 39.7 without video dropout.

    The inputs of `audioset-video` and `audioset-raw` together, 13,024 bytes of 487 channels: a learned encoding of 4
    channels marks the video, a wider one the sound. In 3 of 10 samples training blanks the video.
    """
    return _audioset(
        "audioset-raw-video", {"video": VideoModality(drop_probability=VIDEO_DROPOUT), "audio": _waveform()}
    )


def audioset_mel_video() -> RunConfig:
    """Tab. 3, "Perceiver (mel spectrogram)", A+V: 43.2 mAP; 39.9 without video dropout.

    The inputs of `audioset-video` and `audioset-mel` together: 17,344 bytes of 487 channels.
    """
    return _audioset(
        "audioset-mel-video", {"video": VideoModality(drop_probability=VIDEO_DROPOUT), "audio": _spectrogram()}
    )


def audioset_mel_video_tuned() -> RunConfig:
    """Tab. 3, "Perceiver (mel spectrogram, tuned)", A+V: 44.2 mAP.

    As `audioset-mel-video` without SpecAugment; in 1 of 10 samples training blanks the spectrogram.
    """
    audio = replace(_spectrogram(), spec_augment=SpecAugment(), drop_probability=SPECTROGRAM_DROPOUT)
    return _audioset(
        "audioset-mel-video-tuned", {"video": VideoModality(drop_probability=VIDEO_DROPOUT), "audio": audio}
    )


def _waveform() -> AudioModality:
    # Not in the paper: the number of bands and the highest.
    return AudioModality(features="waveform", encoding=GridEncoding(num_bands=64))


def _spectrogram() -> AudioModality:
    return AudioModality(
        # Not in the paper, which gives 4,800 values and no more: 80 frames of 60 bins, frames 16 ms apart, the bands
        # of the position encoding, SpecAugment's settings. One axis of positions: Perceiver IO, Tab. 6.
        features="log_mel",
        mel_bins=60,
        hop=768,
        window=1536,
        flatten=True,
        encoding=GridEncoding(num_bands=64),
        spec_augment=SpecAugment(num_time_masks=2, max_time_frames=8, num_frequency_masks=2, max_frequency_bins=8),
    )


def _audioset(name: str, streams: dict[str, Modality]) -> RunConfig:
    return RunConfig(
        recipe=name,
        epochs=100,
        # Not in the paper: batch size, optimizer and learning rate. Those of its ImageNet, at half the batch.
        batch_size=512,
        learning_rate=0.004,
        source=SourceConfig(format="audioset", check="header"),
        split=SplitConfig(validation=0.01),
        # Raw zeros in place of a stream that is left out: "zero the whole video stream".
        streams=Streams(by_name=streams, absent="zeros", evaluation_clips=16),
        # Not in the paper: latents and heads; "a faster version of the ImageNet model".
        model=PerceiverConfig(
            num_cross_attends=2,
            num_blocks=2,
            num_self_attends_per_block=8,
            share_cross_attends="none",
            share_latent_transformers="none",
        ),
        task=TaskConfig(kind="multi_label"),
        training=TrainingConfig(
            optimizer=OptimizerConfig(kind="lamb", weight_decay=0.1, clip_norm=10.0),
            schedule=ScheduleConfig(kind="cosine"),
        ),
    )
