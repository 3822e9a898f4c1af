"""Draws point clouds: three views side by side, each point a small shaded ball."""

from dataclasses import dataclass

import numpy as np

SIDE = 160
"""Height and width of one view in pixels."""

_MARGIN = 0.92
_MIN_RADIUS, _MAX_RADIUS = 1.2, 6.0
_BACKGROUND = 247.0
_NEAR = np.array([38.0, 70.0, 120.0])
_FAR = np.array([176.0, 196.0, 219.0])
_LIGHT = np.array([-0.4, 0.5, 0.77])  # from the upper left, in front: right, up, towards the viewer
# Which axes of the cloud point right, up and towards the viewer: from the front (looking along y), from the right side
# (looking along -x), from the top (looking along -z).
_VIEWS = (((0, 1), (2, 1), (1, -1)), ((1, 1), (2, 1), (0, 1)), ((0, 1), (1, 1), (2, 1)))


@dataclass(frozen=True, eq=False)
class Drawing:
    """Which point each pixel shows, and how."""

    point: np.ndarray
    """int64 (rows, columns): the point's number, -1 where there is none."""
    nearness: np.ndarray
    """float64 (rows, columns): 0 for the farthest point of a view to 1 for the nearest."""
    light: np.ndarray
    """float64 (rows, columns): how brightly the ball's surface is lit, 0 to 1."""


def draw_cloud(points: np.ndarray, side: int = SIDE) -> Drawing:
    """Draws points within [-1, 1] from the front, from the right and from the top, next to each other.

    The first axis points right and the third up in the front view; the second points right in the side view and up in
    the top view. Where balls overlap, the nearest is seen.

    Args:
        points: (n, 3).
        side: of one view, in pixels; the result is (side, 3 side).
    """
    views = [_view(np.stack([points[:, axis] * sign for axis, sign in view], axis=1), side) for view in _VIEWS]
    return Drawing(*(np.concatenate(parts, axis=1) for parts in zip(*views, strict=True)))


def paint(drawing: Drawing, colours: np.ndarray | None) -> np.ndarray:
    """Returns a drawing as a picture: uint8 (rows, columns, 3) on a light background.

    Args:
        colours: (n, 3), red, green and blue of each point, 0 to 1; None: blue, the darker the nearer.
    """
    empty = drawing.point < 0
    if colours is None:
        base = _FAR + (_NEAR - _FAR) * drawing.nearness[..., None]
    else:
        # White things would vanish on the background.
        base = np.clip(colours[drawing.point], 0, 1) * 225.0 * (0.7 + 0.3 * drawing.nearness[..., None])
    picture = base * (0.6 + 0.45 * drawing.light[..., None])
    picture[empty] = _BACKGROUND
    rounded: np.ndarray = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return rounded


def _view(points: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws points whose axes are right, up and towards the viewer."""
    scale = _MARGIN * side / 2
    # Balls that just about close the gaps of a surface that fills two fifths of the view, half of it on the far side.
    radius = float(np.clip(1.35 * side * np.sqrt(0.8 / (np.pi * max(len(points), 1))), _MIN_RADIUS, _MAX_RADIUS))
    reach = int(np.ceil(radius))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = rows**2 + columns**2 <= radius**2
    rows, columns = rows[inside], columns[inside]
    bulge = np.sqrt(np.maximum(1 - (rows**2 + columns**2) / radius**2, 0))
    light = np.clip((columns / radius) * _LIGHT[0] - (rows / radius) * _LIGHT[1] + bulge * _LIGHT[2], 0, 1)

    row = np.rint((side - 1) / 2 - points[:, 1, None] * scale).astype(np.int64) + rows
    column = np.rint((side - 1) / 2 + points[:, 0, None] * scale).astype(np.int64) + columns
    depth = points[:, 2, None] + bulge * radius / scale
    span = np.ptp(points[:, 2]) or 1.0
    near = np.broadcast_to((points[:, 2, None] - points[:, 2].min()) / span, row.shape)
    number = np.broadcast_to(np.arange(len(points))[:, None], row.shape)
    seen = (row >= 0) & (row < side) & (column >= 0) & (column < side)
    # Painted from far to near: of several values for a pixel NumPy keeps the last.
    order = np.argsort(depth[seen], kind="stable")
    place = (row[seen][order], column[seen][order])
    point = np.full((side, side), -1, dtype=np.int64)
    nearness, lit = np.zeros((side, side)), np.zeros((side, side))
    point[place] = number[seen][order]
    nearness[place] = near[seen][order]
    lit[place] = np.broadcast_to(light, row.shape)[seen][order]
    return point, nearness, lit
