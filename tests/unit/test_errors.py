import pytest

from perceptio.errors import DataError, FileError, MissingExtraError, PerceptioError, UsageError, nearest


def test_nearest_names_come_closest_first():
    assert nearest("imagnet", ["imagenet", "imagenet-permuted", "fashion"]) == " Nearest: imagenet, imagenet-permuted."


def test_nearest_shows_no_more_than_asked():
    assert nearest("aaa", ["aaab", "aaac", "aaad"], show=1).count(",") == 0


def test_how_much_is_near_can_be_said():
    assert nearest(".mp4", [".ply"]) == " Nearest: .ply."
    assert nearest(".mp4", [".ply"], alike=0.75) == " Known: .ply."


def test_without_anything_near_all_are_listed():
    assert nearest("xyz", ["train", "info"]) == " Known: info, train."


@pytest.mark.parametrize(("kind", "code"), [(PerceptioError, 1), (UsageError, 2), (FileError, 3), (DataError, 4)])
def test_exit_codes(kind, code: int):
    assert kind("message").exit_code == code
    assert issubclass(kind, PerceptioError)


def test_a_missing_part_says_how_to_get_it():
    with pytest.raises(
        MissingExtraError, match=r"--tensorboard needs an optional part .*: pip install 'perceptio\[ten"
    ):
        raise MissingExtraError("--tensorboard", "tensorboard")
    assert issubclass(MissingExtraError, ImportError)


def test_a_usage_error_is_a_value_error():
    """So that a config's own check reads the same from Python."""
    assert issubclass(UsageError, ValueError)
