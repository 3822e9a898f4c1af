from dataclasses import fields, replace

import pytest

from perceptio.modalities.audio import AudioModality
from perceptio.modalities.image import ImageModality
from perceptio.modalities.streams import Streams
from perceptio.modalities.video import VideoModality
from perceptio.recipes.registry import find_recipe
from perceptio.runs.config import RunConfig
from perceptio.runs.mirroring import why_not_mirrored, without_mirroring

MIRRORED = Streams(by_name={"image": ImageModality(column="image"), "video": VideoModality(column="video")})


@pytest.fixture
def config() -> RunConfig:
    return replace(find_recipe("imagenet"), streams=MIRRORED)


@pytest.mark.parametrize(
    ("classes", "why"),
    [
        (("pan left", "pan right", "zoom"), "the classes pan left and pan right tell left from right"),
        (("TurnRight", "turnLeft", "straight"), "the classes turnLeft and TurnRight tell left from right"),
        (("links", "rechts"), "the classes links and rechts tell left from right"),
        (("clockwise", "counterclockwise"), "the classes counterclockwise and clockwise tell left from right"),
        (("b", "d", "space"), "classes such as b and d are letters or digits"),
        (tuple("0123456789"), "classes such as 0 and 1 are letters or digits"),
        (("left", "leftovers"), ""),
        (("bright", "cleft"), ""),
        (("copyright", "left"), ""),
        (("a", "cat", "dog"), ""),
        (("cat", "dog"), ""),
    ],
)
def test_names_that_forbid_mirroring(classes: tuple[str, ...], why: str):
    assert why_not_mirrored(classes) == why


def test_classes_that_tell_left_from_right_are_not_mirrored(config: RunConfig):
    still, (reason,) = without_mirroring(config, ("left", "right"))
    assert [modality.flip_probability for modality in still.streams.by_name.values()] == [0.0, 0.0]
    assert reason.text == "training mirrors no sample: the classes left and right tell left from right"
    for name, modality in still.streams.by_name.items():
        for field in fields(modality):
            if field.name != "flip_probability":
                assert getattr(modality, field.name) == getattr(MIRRORED.by_name[name], field.name)


def test_other_classes_are_mirrored_and_it_is_said(config: RunConfig):
    same, (reason,) = without_mirroring(config, ("cat", "dog"))
    assert same == config
    assert reason.text == (
        "training mirrors half of the samples; --image.flip-probability 0 --video.flip-probability 0 where left and "
        "right matter"
    )


def test_what_is_never_mirrored_gets_no_word(config: RunConfig):
    sounds = replace(config, streams=Streams(by_name={"audio": AudioModality()}))
    assert without_mirroring(sounds, ("left", "right")) == (sounds, ())
