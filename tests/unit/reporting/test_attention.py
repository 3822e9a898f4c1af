from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from perceptio.reporting.attention import AttentionMaps, draw_attention, save_attention_npz, scale_to_unit
from perceptio.reporting.style import ABSENT, MATRIX_STEPS

ReadPng = Callable[[Path | bytes], np.ndarray]
DARK, BRIGHT, GREY = (tuple(bytes.fromhex(c[1:])) for c in (MATRIX_STEPS[0], MATRIX_STEPS[-1], ABSENT))


def maps_of(scores: np.ndarray, softmax: bool = False) -> AttentionMaps:
    steps, latents = scores.shape[:2]
    return AttentionMaps(
        scores=scores,
        steps=tuple(range(1, steps + 1)),
        latents=tuple(range(0, 5 * latents, 5)),
        softmax=softmax,
    )


def share(pixels: np.ndarray, colour: tuple[int, ...]) -> float:
    return float((np.abs(pixels.astype(int) - colour).max(axis=2) <= 2).mean())


def test_each_map_is_scaled_on_its_own() -> None:
    np.testing.assert_allclose(scale_to_unit(np.array([[-3.0, 1.0], [np.nan, 5.0]])), [[0, 0.5], [np.nan, 1]])
    np.testing.assert_array_equal(scale_to_unit(np.full((2, 2), 7.0)), np.zeros((2, 2)))
    assert np.isnan(scale_to_unit(np.full((2, 2), np.nan))).all()
    np.testing.assert_array_equal(scale_to_unit(np.array([-np.inf, 2.0, 4.0])), [0, 0, 1])


@pytest.mark.parametrize(("steps", "latents", "height", "width"), [(3, 4, 28, 28), (1, 2, 30, 50), (2, 1, 50, 30)])
def test_the_picture_holds_the_image_and_every_map(
    steps: int, latents: int, height: int, width: int, tmp_path: Path, read_png: ReadPng
) -> None:
    image = np.full((height, width, 3), (11, 222, 33), np.uint8)
    # Half of each map is its lowest, a quarter its highest score; a quarter holds no byte. Scores differ in size.
    scores = np.zeros((steps, latents, 2, 2)) + np.arange(latents)[:, None, None]
    scores[..., 0, 1] += 1e-3
    scores[..., 1, 1] = np.nan
    draw_attention(image, maps_of(scores), tmp_path / "maps.png", overlay=False, title="a_{b}$ 犬\x1b.png")
    pixels = read_png(tmp_path / "maps.png")
    assert share(pixels, (11, 222, 33)) > 0.03
    dark, bright, grey = (share(pixels, colour) for colour in (DARK, BRIGHT, GREY))
    assert dark > 0.05
    assert dark == pytest.approx(2 * bright, rel=0.1)
    assert bright == pytest.approx(grey, rel=0.1)


def test_an_overlay_mixes_the_map_with_the_image_in_grey(tmp_path: Path, read_png: ReadPng) -> None:
    image = np.full((8, 8, 3), (30, 60, 90), np.uint8)
    scores = np.zeros((1, 2, 4, 4))
    scores[..., :2] = 1
    draw_attention(image, maps_of(scores), tmp_path / "maps.png", overlay=True, title="")
    pixels = read_png(tmp_path / "maps.png")
    mixed = tuple(round(0.6 * channel + 0.4 * 60) for channel in BRIGHT)
    assert share(pixels, mixed) > 0.05
    assert share(pixels, BRIGHT) == 0


def test_the_npz_reads_back_without_pickle(tmp_path: Path) -> None:
    image, maps = (
        np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
        maps_of(np.random.default_rng(0).random((2, 3, 1, 2))),
    )
    scores = np.arange(2 * 3 * 5.0).reshape(2, 3, 5)  # of five tokens on one axis, drawn as 1 x 2
    save_attention_npz(tmp_path / "maps.npz", maps, image, scores)
    with np.load(tmp_path / "maps.npz", allow_pickle=False) as stored:
        assert sorted(stored) == ["image", "latents", "scores", "softmax", "steps"]
        np.testing.assert_array_equal(stored["scores"], scores)
        np.testing.assert_array_equal(stored["image"], image)
        assert (stored["steps"].tolist(), stored["latents"].tolist(), bool(stored["softmax"])) == (
            [1, 2],
            [0, 5, 10],
            False,
        )


def test_messages(tmp_path: Path) -> None:
    message = (
        r"^attention maps must be \(steps, latents, rows, columns\) = \(2, 3, \.\., \.\.\): got \(3, 2, 4, 4\)\. "
        r"Name every step and latent that the scores hold\.$"
    )
    with pytest.raises(ValueError, match=message):
        AttentionMaps(scores=np.zeros((3, 2, 4, 4)), steps=(1, 2), latents=(0, 1, 2), softmax=False)
    maps, path = maps_of(np.zeros((1, 1, 9, 4))), tmp_path / "maps.png"
    message = (
        r"^maps must not be finer than the image: got 9 x 4 over 8 x 8 pixels\. Give the image as the model saw it\.$"
    )
    with pytest.raises(ValueError, match=message):
        draw_attention(np.zeros((8, 8, 1), np.uint8), maps, path, overlay=False, title="")
    with pytest.raises(ValueError, match=r"uint8 \(height, width, 1 or 3\): got float32 \(8, 8, 1\)"):
        draw_attention(np.zeros((8, 8, 1), np.float32), maps, path, overlay=False, title="")
