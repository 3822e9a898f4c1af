"""Pictures of one sample side by side, such as frames of a clip or slices of a volume, with room between them."""

from collections.abc import Sequence

import numpy as np

LEAST_GAP = 4
"""Columns of a picture between two of its parts, at least."""


def beside(parts: Sequence[np.ndarray], patch_width: int, white: float) -> np.ndarray:
    """Returns pictures (height, width, ..) in a row, with white between them.

    Args:
        patch_width: columns that one token covers: the gap is as wide as whole tokens, so that maps can be laid out
            alike, by `maps_beside`.
        white: the value of white.
    """
    return _joined(parts, _gap_tokens(patch_width) * patch_width, white)


def maps_beside(parts: Sequence[np.ndarray], patch_width: int) -> np.ndarray:
    """Returns maps (rows, columns, ..) with a column for each token, laid out as `beside`: NaN in the gaps."""
    return _joined(parts, _gap_tokens(patch_width), np.nan)


def _gap_tokens(patch_width: int) -> int:
    return -(-LEAST_GAP // patch_width)


def _joined(parts: Sequence[np.ndarray], width: int, fill: float) -> np.ndarray:
    first, *others = parts
    gap = np.full((first.shape[0], width, *first.shape[2:]), fill, first.dtype)
    return np.concatenate([first, *(array for part in others for array in (gap, part))], axis=1)
