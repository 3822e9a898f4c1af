"""Point clouds and meshes: points in space, drawn from surfaces where a file has any (paper section 4.3)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import ClassVar

import numpy as np

from perceptio.data.cloud_cache import CloudCache
from perceptio.data.cloud_picture import draw_cloud, paint
from perceptio.data.items import File, Item
from perceptio.data.limits import Limits, check_file
from perceptio.data.mesh import Mesh
from perceptio.data.mesh_files import probe_mesh, read_mesh
from perceptio.data.point_augment import PointAugment, Rotation
from perceptio.data.surface import Samples, normalise_cloud, sample_surface
from perceptio.errors import FileError, UsageError
from perceptio.inputs.points import PointInputConfig
from perceptio.modalities.contract import Candidate, Facts, Modality
from perceptio.randomness import generator
from perceptio.shapes import Tensor

SIZES = (256, 512, 1024, 2048)
"""Numbers of points that are proposed; the last is about the paper's."""


@dataclass(frozen=True, eq=False)
class _Cloud:
    """The points that views are drawn from, float32 (n, channels): coordinates in the unit cube, normals, colours."""

    modality: "PointsModality"
    pool: np.ndarray

    @property
    def seconds(self) -> None:
        """Nothing: a cloud has no time."""
        return None

    def view(self, start: float, random: np.random.Generator | None) -> np.ndarray:
        """Returns float32 (n, channels): some of the points at random, or the first ones."""
        modality, pool = self.modality, self.pool
        size = min(modality.num_points, len(pool))
        if random is None:
            chosen = pool[:size]
        else:
            chosen = pool[random.choice(len(pool), size, replace=False)] if size < len(pool) else pool
        points, others = chosen[:, :3].astype(np.float64), chosen[:, 3:]
        normals = others[:, :3] if modality.normals else None
        if random is None:
            points = normalise_cloud(points)
        else:
            points, normals = modality.augment(points, normals, random)
        colours = others[:, 3 * modality.normals :]
        parts = [points, colours] if normals is None else [points, normals, colours]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, kw_only=True)
class PointsModality(Modality):
    """Points without an order, each with three coordinates. The defaults are the paper's for ModelNet40."""

    kind: ClassVar[str] = "points"
    suffixes: ClassVar[frozenset[str]] = frozenset({".off", ".ply", ".obj", ".stl", ".gltf", ".glb", ".wrl", ".xyz"})
    asked_suffixes: ClassVar[frozenset[str]] = frozenset({".txt", ".npy", ".npz"})

    num_points: int = 2048
    """Points of one view. The paper takes about 2,000. Clouds with fewer keep their size."""
    normals: bool = False
    """Give the model the direction of the surface at each point as well: three more channels."""
    colours: bool = False
    """Give the model the colour of each point as well: three more channels, from -1 to 1."""
    num_bands: int = 64
    """Fourier frequency bands per coordinate."""
    max_frequency: float = 1120.0
    """Highest band: ten times the paper's for images."""
    scaling: tuple[float, float] = (0.99, 1.01)
    """Lowest and highest factor by which training moves each point away from the centre or towards it."""
    rotation: Rotation = "none"
    """Axis of the random rotations of training: the third one of the files, or any."""
    stretch: float = 1.0
    """Largest factor by which training stretches or shrinks each axis of the files. 1: none."""
    jitter: float = 0.0
    """Farthest that training shifts a point along each axis; the cloud reaches from -1 to 1."""
    sampling_seed: int = 0
    """Seed of the points that are drawn from a surface."""
    pool: int = 4
    """How many times `num_points` are drawn from a surface once; views of training choose among them."""
    cache: bool = True
    """Keep the points of each file in the user's cache folder, so that the file is read once."""

    def __post_init__(self) -> None:
        for name in ("num_points", "num_bands", "pool"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1: got {getattr(self, name)}")
        if self.num_points * self.pool > Limits.max_vertices:
            raise UsageError(
                f"num_points times pool must be at most {Limits.max_vertices:,}: got {self.num_points:,} times "
                f"{self.pool:,}. Use fewer points"
            )
        if not 0 < self.max_frequency < math.inf:
            raise UsageError(f"max_frequency must be above 0: got {self.max_frequency}. The paper takes 1120")
        _ = self.augment  # checks its own settings

    @property
    def augment(self) -> PointAugment:
        """How views of training are changed."""
        return PointAugment(scaling=self.scaling, rotation=self.rotation, stretch=self.stretch, jitter=self.jitter)

    @property
    def channels(self) -> int:
        """Values of a point: coordinates, then normal, then colour."""
        return 3 + 3 * self.normals + 3 * self.colours

    @property
    def sizes_differ(self) -> bool:
        """Clouds with few points keep their size."""
        return True

    def input_config(self) -> PointInputConfig:
        """Returns size and position encoding of the model's input."""
        return PointInputConfig(
            num_points=self.num_points,
            channels=self.channels,
            num_bands=self.num_bands,
            max_frequency=self.max_frequency,
        )

    def shrunk(self) -> "PointsModality":
        """Returns the same with 32 points and four frequency bands."""
        return replace(self, num_points=32, num_bands=4)

    def describe(self) -> str:
        """Returns points and channels."""
        return f"{self.num_points} points x {self.channels}"

    def summary(self, facts: Sequence[Facts]) -> str:
        """Returns the vertices of the middle surface and the points of the middle cloud, of those that there are."""
        surfaces = [fact["num_vertices"] for fact in facts if fact["num_faces"]]
        clouds = [fact["num_vertices"] for fact in facts if not fact["num_faces"]]
        found = [
            f"{what} of {int(median(sizes)):,} {each}"
            for what, each, sizes in (("surfaces", "vertices", surfaces), ("clouds", "points", clouds))
            if sizes
        ]
        return f"{' and '.join(found)} (median)" if found else ""

    def probe(self, file: File, limits: Limits) -> Facts:
        """Returns the numbers of vertices and faces; no faces: a point cloud.

        If the settings ask for normals or colours, the whole file is read and `has_normals` and `has_colours` are 0 or
        1 as well.
        """
        if not self.normals and not self.colours:
            num_vertices, num_faces = probe_mesh(file, limits)
            return {"num_vertices": num_vertices, "num_faces": num_faces}
        return _facts_of(read_mesh(file, limits))

    def sizes(self, facts: Facts) -> Mapping[str, float]:
        """Returns the numbers of vertices and faces."""
        return {"vertices": facts["num_vertices"], "faces": facts["num_faces"]}

    def admit(self, facts: Facts) -> None:
        """Raises FileError when the settings ask for normals or colours that the file is known not to have."""
        if self.colours and not facts.get("has_colours", True):
            raise FileError("has no colours; set colours to false, or give every file colours")
        if self.normals and not facts.get("has_normals", True):
            raise FileError("has neither faces nor normals; set normals to false, or give every point its normal")

    def check(self, file: File, limits: Limits) -> None:
        """Reads the whole file."""
        read_mesh(file, limits)

    def open(self, item: Item, limits: Limits) -> _Cloud:
        """Draws points from a file or an array, or takes those of the cache."""
        cache = CloudCache.of_user() if self.cache else None
        if cache is None or isinstance(item, np.ndarray):
            return _Cloud(self, self._draw(item, limits))
        check_file(item, None, limits)
        key = cache.key(item, f"{self.num_points * self.pool} {self.normals} {self.colours} {self.sampling_seed}")
        points = None if key is None else cache.read(key, self.num_points * self.pool, self.channels)
        if points is None:
            points = self._draw(item, limits)
            if key is not None:
                cache.write(key, points)
        return _Cloud(self, points)

    def prepare(self, values: Tensor) -> Tensor:
        """Returns the points as float32: they are in the unit cube already."""
        return values.float()

    def picture(self, values: np.ndarray) -> np.ndarray:
        """Returns the points seen from the front, from the right and from the top, side by side."""
        return paint(draw_cloud(values[:, :3]), (values[:, -3:] + 1) / 2 if self.colours else None)

    def spread(self, values: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Returns the score of the point that each pixel of the picture shows."""
        point = draw_cloud(values[:, :3]).point
        return np.where(point < 0, np.nan, scores.astype(np.float64)[point])

    @classmethod
    def candidates(cls, facts: Sequence[Facts]) -> tuple[Candidate, ...]:
        """Returns several numbers of points, none more than half of the clouds have; surfaces give any number."""
        clouds = [fact["num_vertices"] for fact in facts if not fact["num_faces"]]
        if not clouds:
            source = "drawn from surfaces" if facts else "of each cloud"
            return tuple(Candidate(modality=cls(num_points=size), why=f"{size:,} points {source}") for size in SIZES)
        middle = max(int(median(clouds)), 1)
        return tuple(
            Candidate(modality=cls(num_points=size), why=f"{size:,} points: the clouds have {middle:,} (median)")
            for size in [size for size in SIZES if size <= middle] or [middle]
        )

    def _draw(self, item: Item, limits: Limits) -> np.ndarray:
        mesh = read_mesh(item, limits)
        self.admit(_facts_of(mesh))
        random = generator(self.sampling_seed, "surface")
        return self._pooled(sample_surface(mesh, self.num_points * self.pool, random), random)

    def _pooled(self, samples: Samples, random: np.random.Generator) -> np.ndarray:
        # In float64: a cloud far from its origin would lose its shape in float32.
        parts = [normalise_cloud(samples.points)]
        if self.normals and samples.normals is not None:
            parts.append(samples.normals)
        if self.colours and samples.colours is not None:
            parts.append(2 * samples.colours - 1)
        pool = np.concatenate(parts, axis=1, dtype=np.float32)
        # Scanners write points row by row: the first ones, which evaluation takes, would be one end of the thing.
        return random.permutation(pool) if len(pool) > self.num_points else pool


def _facts_of(mesh: Mesh) -> Facts:
    return {
        "num_vertices": len(mesh.vertices),
        "num_faces": 0 if mesh.faces is None else len(mesh.faces),
        "has_normals": mesh.faces is not None or mesh.normals is not None,
        "has_colours": mesh.colours is not None,
    }
