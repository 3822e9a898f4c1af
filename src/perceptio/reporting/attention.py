"""What the latents attend to: the paper's Fig. 3, for the first and later cross-attends side by side."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perceptio.data.names import printable
from perceptio.reporting.figures import colour_map
from perceptio.reporting.images import scale_nearest, to_rgb
from perceptio.reporting.sheet import Place, Sheet
from perceptio.reporting.style import ABSENT

_CELL_INCHES = 1.25
_WIDE = 2.2  # from this many times as wide as high an image stands above its maps
_WIDE_INCHES = 3.6
_GAP_INCHES = 0.06
_TOP_INCHES = 0.5  # title and column names
_BOTTOM_INCHES = 0.4  # caption
_OVERLAY = 0.6  # how much of an overlay is map; the rest is the image in grey
_Box = tuple[float, float, float, float]  # left, top, width, height in inches


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionMaps:
    """Maps of chosen latents over one image.

    Args:
        scores: (steps, latents, rows, columns), pre-softmax scores or softmax weights; NaN where no byte is.
        steps: number of the cross-attend of each first-axis entry, counted from 1.
        latents: index of the latent of each second-axis entry, counted from 0.
        softmax: whether the scores are weights after the softmax.
    """

    scores: np.ndarray
    steps: tuple[int, ...]
    latents: tuple[int, ...]
    softmax: bool

    def __post_init__(self) -> None:
        expected = (len(self.steps), len(self.latents))
        if self.scores.ndim != 4 or self.scores.shape[:2] != expected or self.scores.size == 0:
            raise ValueError(
                f"attention maps must be (steps, latents, rows, columns) = ({expected[0]}, {expected[1]}, .., ..): "
                f"got {self.scores.shape}. Name every step and latent that the scores hold."
            )


@dataclass(frozen=True)
class _Label:
    """A text and where it is on the sheet, in inches. Names of cross-attends are a little larger and darker."""

    text: str
    left: float
    top: float
    place: Place
    is_step: bool = False


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Where everything is on the sheet: the image, once or more often, and the map of each (step, latent)."""

    pictures: list[_Box]
    maps: dict[tuple[int, int], _Box]
    labels: list[_Label]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the sheet, with room for the caption."""
        boxes = [*self.pictures, *self.maps.values()]
        right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
        return right, bottom + _BOTTOM_INCHES


def draw_attention(image: np.ndarray, maps: AttentionMaps, path: Path, *, overlay: bool, title: str) -> None:
    """Writes the image at the left and, for each cross-attend, a row with the map of each latent, as one PNG.

    Of a wide image, such as a spectrogram or a strip of frames, each cross-attend is a column below the image.

    Each map is scaled on its own from its lowest to its highest value, as the caption of the picture says: the scores
    of different latents have no common unit. Maps of fewer rows and columns than the image (patches) are enlarged by
    repeating values.

    Args:
        image: uint8 (height, width, 1 or 3), as the model saw it.
        maps: the maps to draw.
        path: the file to write.
        overlay: lay the maps over the image in grey instead of drawing them alone.
        title: written above, such as the file's name and the predicted class.

    Raises:
        ValueError: the image is no picture, or has fewer pixels along an axis than the maps.
        MissingExtraError: matplotlib is not installed.
    """
    picture = to_rgb(image)
    height, width = picture.shape[:2]
    rows, columns = maps.scores.shape[2:]
    if rows > height or columns > width:
        raise ValueError(
            f"maps must not be finer than the image: got {rows} x {columns} over {height} x {width} pixels. "
            "Give the image as the model saw it."
        )
    places = _places_of_wide(maps, height / width) if width > _WIDE * height else _places(maps, height / width)
    sheet = Sheet(*places.size)
    for box in places.pictures:
        sheet.picture(picture, *box)
    for (row, column), box in places.maps.items():
        drawn = _paint(maps.scores[row, column], height, width)
        sheet.picture(_blend(drawn, picture) if overlay else drawn, *box)
    for label in places.labels:
        size = 9 if label.is_step else 8
        sheet.text(label.text, label.left, label.top, place=label.place, size=size, faint=not label.is_step)
    middle, bottom = places.size[0] / 2, places.size[1]
    if title:
        sheet.text(printable(title), middle, 0.0, size=11, bold=True)
    sheet.text(_caption(maps.softmax, overlay), middle, bottom, place="above", faint=True)
    sheet.save(path)


def save_attention_npz(path: Path, maps: AttentionMaps, image: np.ndarray, scores: np.ndarray) -> None:
    """Writes scores, steps, latents, softmax and image as one compressed .npz file, which loads without pickle.

    Args:
        scores: (steps, latents, \\*token axes): one for each token, not laid out as the picture is.
    """
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            scores=scores,
            steps=np.array(maps.steps),
            latents=np.array(maps.latents),
            softmax=np.array(maps.softmax),
            image=image,
        )


def scale_to_unit(scores: np.ndarray) -> np.ndarray:
    """Returns scores mapped linearly so that the lowest is 0 and the highest 1; NaN stays, a constant becomes 0."""
    finite = scores[np.isfinite(scores)].astype(np.float64)
    if finite.size == 0:
        return np.full(scores.shape, np.nan)
    low, high = finite.min(), finite.max()
    scaled: np.ndarray = np.clip((scores - low) / (high - low), 0, 1) if high > low else scores * 0.0
    return scaled


def _places(maps: AttentionMaps, aspect: float) -> _Places:
    """Returns a row for each cross-attend, right of the image, which is twice a map's size where there are two rows."""
    cell_height = _CELL_INCHES * min(max(aspect, 0.4), 2.5)
    cells = 1.0 if len(maps.steps) == 1 else 2.0
    picture = (0.0, _TOP_INCHES, _CELL_INCHES * cells, cell_height * cells)
    first = picture[2] + 0.35  # right of the names of the cross-attends
    boxes = {
        (row, column): (
            first + (_CELL_INCHES + _GAP_INCHES) * column,
            _TOP_INCHES + (cell_height + _GAP_INCHES) * row,
            _CELL_INCHES,
            cell_height,
        )
        for row in range(len(maps.steps))
        for column in range(len(maps.latents))
    }
    labels = [_Label("input", picture[2] / 2, _TOP_INCHES - 0.04, "above")]
    for column, latent in enumerate(maps.latents):
        left, top, width, _ = boxes[0, column]
        labels.append(_Label(f"latent {latent}", left + width / 2, top - 0.04, "above"))
    for row, step in enumerate(maps.steps):
        left, top, _, height = boxes[row, 0]
        labels.append(_Label(f"cross-attend {step}", left - 0.06, top + height / 2, "upwards", is_step=True))
    return _Places(pictures=[picture], maps=boxes, labels=labels)


def _places_of_wide(maps: AttentionMaps, aspect: float) -> _Places:
    """Returns a column for each cross-attend, with the image at its top."""
    cell_height = _WIDE_INCHES * max(aspect, 0.06)

    def box(row: int, column: int) -> _Box:
        top = _TOP_INCHES + (cell_height + _GAP_INCHES) * row
        return (0.7 + (_WIDE_INCHES + _GAP_INCHES) * column, top, _WIDE_INCHES, cell_height)

    steps, latents = range(len(maps.steps)), range(len(maps.latents))
    labels = [
        _Label(f"cross-attend {number}", box(0, step)[0] + _WIDE_INCHES / 2, _TOP_INCHES - 0.04, "above", is_step=True)
        for step, number in enumerate(maps.steps)
    ]
    for row, name in enumerate(("input", *(f"latent {latent}" for latent in maps.latents))):
        labels.append(_Label(name, 0.64, box(row, 0)[1] + cell_height / 2, "left"))
    return _Places(
        pictures=[box(0, step) for step in steps],
        maps={(step, latent): box(latent + 1, step) for step in steps for latent in latents},
        labels=labels,
    )


def _paint(scores: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns one map as RGB of the image's size, in light grey where it has no value."""
    unit = scale_nearest(scale_to_unit(scores), height, width)
    absent = np.isnan(unit)
    painted = colour_map(np.where(absent, 0.0, unit))
    painted[absent] = tuple(bytes.fromhex(ABSENT[1:]))
    return painted


def _blend(painted: np.ndarray, picture: np.ndarray) -> np.ndarray:
    grey = picture.mean(axis=2, keepdims=True)
    blended: np.ndarray = np.rint(_OVERLAY * painted + (1 - _OVERLAY) * grey).astype(np.uint8)
    return blended


def _caption(softmax: bool, overlay: bool) -> str:
    what = "Attention weights after the softmax" if softmax else "Attention scores before the softmax"
    over = ", over the image in grey" if overlay else ""
    return f"{what}{over}.\nEach map is scaled on its own: darkest is its lowest value, brightest its highest."
