"""Random changes of point clouds for training (paper section 4.3)."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from perceptio.data.surface import normalise_cloud
from perceptio.errors import UsageError

Rotation: TypeAlias = Literal["none", "z", "any"]


@dataclass(frozen=True, kw_only=True)
class PointAugment:
    """Scales every point by a factor of its own, then puts the cloud back into the unit cube, as the paper does.

    The paper also tried to shift every point, by up to 0.02, and to rotate the cloud, and found no gain on ModelNet40,
    whose objects stand upright and face alike; both are off unless asked for. Stretching each axis is not the paper's:
    it makes other proportions out of one shape, for data sets with few shapes and many copies of each.

    Raises:
        UsageError: a range that is none, a stretch below one, or a jitter below zero.
    """

    scaling: tuple[float, float] = (0.99, 1.01)
    """Lowest and highest factor. (1, 1): none."""
    rotation: Rotation = "none"
    """Axis of a random rotation: the third one of the file, or any."""
    stretch: float = 1.0
    """Largest factor by which each axis of the file is stretched or shrunk, before any rotation. 1: none."""
    jitter: float = 0.0
    """Farthest that a point is shifted along each axis; the cloud reaches from -1 to 1."""

    def __post_init__(self) -> None:
        low, high = self.scaling
        if not 0 < low <= high < math.inf:
            raise UsageError(f"scaling must be two factors above 0, the lower one first: got {low} and {high}")
        if self.rotation not in ("none", "z", "any"):
            raise UsageError(f"rotation must be none, z or any: got {self.rotation!r}")
        if not 1 <= self.stretch < math.inf:
            raise UsageError(f"stretch must be at least 1: got {self.stretch}. 1 means none")
        if not 0 <= self.jitter < math.inf:
            raise UsageError(f"jitter must be at least 0: got {self.jitter}. Use 0 for none; the paper tried 0.02")

    def __call__(
        self, points: np.ndarray, normals: np.ndarray | None, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns points and normals, changed; both (n, 3), the points in the unit cube before and after."""
        points = normalise_cloud(points)
        if self.stretch > 1:
            factors = stretch_factors(self.stretch, random)
            points = points * factors
            normals = None if normals is None else stretched_normals(normals, factors)
        if self.rotation != "none":
            turn = rotation_about_z(random) if self.rotation == "z" else any_rotation(random)
            points = points @ turn.T
            normals = None if normals is None else normals @ turn.T
        if self.scaling != (1.0, 1.0):
            points = points * random.uniform(*self.scaling, size=(len(points), 1))
        if self.jitter > 0:
            points = points + random.uniform(-self.jitter, self.jitter, size=points.shape)
        return normalise_cloud(points), normals


def stretch_factors(largest: float, random: np.random.Generator) -> np.ndarray:
    """Returns three factors from 1 / largest to largest, uniform in their logarithm."""
    reach = math.log(largest)
    factors: np.ndarray = np.exp(random.uniform(-reach, reach, size=3))
    return factors


def stretched_normals(normals: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Returns the directions (n, 3) of a surface whose axes were stretched: normals go by the inverse transpose.

    A normal of zeros, as files without a direction have, stays zero.
    """
    turned = normals / factors
    lengths = np.linalg.norm(turned, axis=1, keepdims=True)
    directions: np.ndarray = np.divide(turned, lengths, out=np.zeros_like(turned), where=lengths > 0)
    return directions


def rotation_about_z(random: np.random.Generator) -> np.ndarray:
    """Returns a (3, 3) rotation about the third axis by any angle."""
    angle = random.uniform(0, 2 * math.pi)
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def any_rotation(random: np.random.Generator) -> np.ndarray:
    """Returns a (3, 3) rotation, all equally likely: that of a unit quaternion with a uniform direction."""
    quaternion = random.normal(size=4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
