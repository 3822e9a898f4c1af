import pytest

from perceptio.data.image_config import ImageConfig
from perceptio.errors import UsageError

GREY = {"channels": 1, "mean": (0.5,), "std": (0.5,)}


def test_the_defaults_are_the_papers() -> None:
    config = ImageConfig()
    assert (config.size, config.crop_area, config.randaugment_layers, config.randaugment_magnitude) == (
        (224, 224),
        (0.08, 1.0),
        4,
        5,
    )
    assert config.evaluation_crop * 256 == 224


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (0, 5)}, r"^size must be a height and a width of at least 1 pixel: got \(0, 5\)$"),
        ({"channels": 1}, r"^mean must have a value for each of the 1 channels: got 3\. Set mean, .* \(0\.5,\)$"),
        ({**GREY, "std": (0.0,)}, r"^std must be above 0 in every channel: got \(0\.0,\)$"),
        ({"crop_area": (0.0, 1.0)}, r"^crop_area must be a lowest and a highest value above 0, at most 1: got "
                                    r"\(0\.0, 1\.0\)$"),
        ({"crop_area": (0.5, 0.4)}, "^crop_area must be a lowest and a highest"),
        ({"crop_aspect": (2.0, 1.0)}, "^crop_aspect must be a lowest and a highest value above 0, at most 100"),
        ({"flip_probability": 1.5}, r"^flip_probability must lie in 0 to 1: got 1\.5$"),
        ({"evaluation_crop": 0.0}, r"^evaluation_crop must be above 0 and at most 1: got 0\.0$"),
        ({"randaugment_layers": -1}, "^randaugment_layers must be at least 0: got -1$"),
        ({"randaugment_magnitude": 11}, "^randaugment_magnitude must lie in 0 to 10: got 11$"),
        ({"geometry": "fit", "crop_area": (0.5, 1.0)}, r"^crop_area has no effect with geometry fit, which crops "
                                                       r"nothing; leave it at its default, \(0\.08, 1\.0\)$"),
        ({"geometry": "fit", "evaluation_crop": 1.0}, "^evaluation_crop has no effect with geometry fit, which "
                                                      "crops nothing; leave"),
        ({"randaugment_layers": 0, "randaugment_magnitude": 3}, "^randaugment_magnitude has no effect with "
                                                                "randaugment_layers 0; leave it at its default, 5, "
                                                                "or add layers$"),
        ({"randaugment_layers": 0, "randaugment_relative_lengths": True}, "^randaugment_relative_l.* has no effect"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ImageConfig(**settings)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("channels", 2, r"^channels must be 1 \(grey\) or 3 \(colour\): got 2$"),
        ("geometry", "stretch", r"^geometry must be crop or fit: got 'stretch'$"),
    ],
)
def test_values_that_mean_nothing(name: str, value: object, message: str) -> None:
    """The types forbid them, which these tests check and a program of one's own does not."""
    config = ImageConfig()
    object.__setattr__(config, name, value)
    with pytest.raises(UsageError, match=message):
        config.__post_init__()


def test_defaults_without_effect_are_fine() -> None:
    ImageConfig(geometry="fit")
    ImageConfig(randaugment_layers=0)
    ImageConfig(**GREY)
