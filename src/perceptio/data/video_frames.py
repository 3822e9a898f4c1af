"""From decoded video frames, in whatever layout a codec uses, to upright RGB pictures of a wanted size."""

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from perceptio.data.crops import Box
from perceptio.data.limits import Limits
from perceptio.data.media import load_av
from perceptio.errors import FileError

if TYPE_CHECKING:
    import av.video.frame

# Pixels longer or taller than this are a mistake in the header and count as square: DVDs reach 1.42, DV 1.5.
_MOST_PIXEL_ASPECT = 8


class Turn(NamedTuple):
    """How stored pictures are turned to stand upright: transposed first, then mirrored."""

    transposed: bool
    mirrored_left_right: bool
    mirrored_top_bottom: bool

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Returns a view of a picture (height, width, 3) that stands upright."""
        if self.transposed:
            picture = picture.transpose(1, 0, 2)
        if self.mirrored_left_right:
            picture = picture[:, ::-1]
        return picture[::-1] if self.mirrored_top_bottom else picture


def turn_of(frame: "av.video.frame.VideoFrame") -> Turn:
    """Returns what the frame's display matrix asks for: quarter turns and mirror images; other angles are rounded.

    The matrix maps a pixel (x, y) to (a x + c y, b x + d y), y pointing down (ISO/IEC 14496-12, 8.3.2).
    """
    try:
        data: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV 18.1 cannot list the side data of a frame if it has a kind that PyAV does not know. Mirroring is lost.
        return _QUARTER_TURNS[round(frame.rotation / 90) % 4]
    if data is None or data.buffer_size < 36:
        return _QUARTER_TURNS[0]
    a, b, _, c, d = np.frombuffer(bytes(data), dtype=np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Turn(True, c < 0, b < 0)
    return Turn(False, a < 0, d < 0)


# By 0, 90, 180 and 270 degrees counterclockwise.
_QUARTER_TURNS = (
    Turn(False, False, False),
    Turn(True, False, True),
    Turn(False, True, True),
    Turn(True, True, False),
)


class Picturing:
    """Makes pictures of the frames of one video: upright, square pixels, 8 bits, transparent parts on white."""

    def __init__(self, first: "av.video.frame.VideoFrame", pixel_aspect: Fraction | None, limits: Limits) -> None:
        """Takes turn and size from the first frame; later frames of another size are scaled to the same size.

        Args:
            first: the first frame of the video.
            pixel_aspect: width to height of a pixel; None: square.
            limits: how large a picture may be.

        Raises:
            FileError: pictures would be larger than the limits allow.
        """
        check_frame_size(first.width, first.height, limits)
        aspect = pixel_aspect or Fraction(1)
        if not Fraction(1, _MOST_PIXEL_ASPECT) <= aspect <= _MOST_PIXEL_ASPECT:
            aspect = Fraction(1)
        height, width = first.height, max(1, round(first.width * aspect))
        check_frame_size(width, height, limits)
        self._limits = limits
        self._turn = turn_of(first)
        self.size = (width, height) if self._turn.transposed else (height, width)
        # One for the whole video: a new one for each frame sets up its tables (and threads) again each time.
        self._scaler = load_av().video.reformatter.VideoReformatter()

    def picture(self, frame: "av.video.frame.VideoFrame", size: tuple[int, int], box: Box | None = None) -> np.ndarray:
        """Returns a frame as bytes (height, width, 3).

        Args:
            frame: a frame of the video.
            size: height and width to scale the upright picture to; scaling down averages over areas.
            box: the part of the scaled picture that is wanted; None: all of it.
        """
        check_frame_size(frame.width, frame.height, self._limits)
        height, width = size[::-1] if self._turn.transposed else size
        upright = self._turn(self._rgb(frame, height, width))
        if box is not None:
            upright = upright[box.top : box.top + box.height, box.left : box.left + box.width]
        return upright.copy()

    def _rgb(self, frame: "av.video.frame.VideoFrame", height: int, width: int) -> np.ndarray:
        if any(component.is_alpha for component in frame.format.components):
            rgba = self._scaled(frame, frame.height, frame.width, "rgba").to_ndarray()
            # Before scaling: the hidden colour of transparent pixels must not bleed into their neighbours.
            frame = load_av().VideoFrame.from_ndarray(_on_white(rgba), format="rgb24")
        rgb: np.ndarray = self._scaled(frame, height, width, "rgb24").to_ndarray()
        return rgb

    def _scaled(self, frame: "av.video.frame.VideoFrame", height: int, width: int, layout: str) -> Any:
        interpolation = load_av().video.reformatter.Interpolation
        smaller = height <= frame.height and width <= frame.width
        # Colour matrix and range are those that the frame states; where it states none, BT.601 as in FFmpeg.
        return self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format=layout,
            interpolation=interpolation.AREA if smaller else interpolation.BICUBIC,
            threads=1,
        )


def check_frame_size(width: int, height: int, limits: Limits) -> None:
    """Checks the size of a frame before memory is taken for it.

    Raises:
        FileError: it is none, or larger than the limits allow.
    """
    if width < 1 or height < 1:
        raise FileError(f"declares frames of {width} x {height} pixels; there must be at least one")
    if max(width, height) > limits.max_image_side:
        raise FileError(
            f"declares frames of {width:,} x {height:,} pixels; the limit is {limits.max_image_side:,} a side "
            "(--source.limits.max-image-side)"
        )
    if width * height > limits.max_frame_pixels:
        raise FileError(
            f"declares frames of {width:,} x {height:,} = {width * height:,} pixels; the limit is "
            f"{limits.max_frame_pixels:,} (--source.limits.max-frame-pixels)"
        )


def _on_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[:, :, 3:].astype(np.uint16)
    blended = (rgba[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return blended.astype(np.uint8)
