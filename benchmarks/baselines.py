"""What a split is worth: simple models on simple features, one for each data set of `real_data.py`. Needs scikit-learn.

Each takes the data folder and the tables of its folds and returns accuracy and balanced accuracy over all test samples.
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from perceptio.data.limits import Limits
from perceptio.modalities.audio import AudioModality
from perceptio.modalities.contract import Modality
from perceptio.modalities.points import PointsModality
from perceptio.modalities.video import VideoModality
from perceptio.recipes.registry import find_recipe
from perceptio.runs.config import RunConfig
from perceptio.runs.data import prepare_data, survey_data

Baseline = Callable[[Path, Sequence[Path]], dict[str, float]]


class Classifier(Protocol):
    """What scikit-learn's models have in common."""

    def fit(self, features: np.ndarray, labels: Sequence[str]) -> object: ...

    def predict(self, features: np.ndarray) -> np.ndarray: ...


def linear_on_log_mel(data: Path, folds: Sequence[Path]) -> dict[str, float]:
    """Logistic regression on mean, deviation, highest and lowest value of each mel bin over the whole file."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    modality = _modality("drum-hits", AudioModality)
    kept: dict[str, np.ndarray] = {}

    def features(path: Path) -> np.ndarray:
        if path.name not in kept:
            frames = _view(modality, path)[..., 0]
            parts = [frames.mean(0), frames.std(0), frames.max(0), np.diff(frames, axis=0).std(0)]
            kept[path.name] = np.concatenate(parts)
        return kept[path.name]

    return _over_folds(
        data, folds, features, lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    )


def forest_on_quantiles(data: Path, folds: Sequence[Path]) -> dict[str, float]:
    """Random forest on quantiles of the points' coordinates, distances from the centre, and the box's proportions."""
    from sklearn.ensemble import RandomForestClassifier

    modality = _modality("electronic-parts", PointsModality)
    levels = np.linspace(0, 1, 11)

    def features(path: Path) -> np.ndarray:
        points = _view(modality, path)[:, :3]
        radius = np.linalg.norm(points, axis=1, keepdims=True)
        flat = np.linalg.norm(points[:, :2], axis=1, keepdims=True)
        values = np.concatenate([points, radius, flat], axis=1)
        return np.concatenate([np.quantile(values, levels, axis=0).ravel(), np.ptp(points, axis=0), points.std(0)])

    return _over_folds(
        data, folds, features, lambda: RandomForestClassifier(500, class_weight="balanced", random_state=0, n_jobs=1)
    )


def single_frames(data: Path, folds: Sequence[Path]) -> dict[str, float]:
    """Random forest on the middle frame alone, halved in size."""
    from sklearn.ensemble import RandomForestClassifier

    modality = _modality("moving-garments", VideoModality)

    def features(path: Path) -> np.ndarray:
        frames = _view(modality, path)
        return frames[len(frames) // 2, ::2, ::2].ravel().astype(np.float32)

    return _over_folds(data, folds, features, lambda: RandomForestClassifier(300, random_state=0, n_jobs=1))


BASELINES: dict[str, dict[str, Baseline]] = {
    "drum-hits": {"linear on log-mel statistics": linear_on_log_mel},
    "electronic-parts": {"random forest on point quantiles": forest_on_quantiles},
    "moving-garments": {"random forest on one frame": single_frames},
    "stamps": {},
}


def _modality(recipe: str, kind: type[Modality]) -> Modality:
    (found,) = find_recipe(recipe).streams.by_name.values()
    assert isinstance(found, kind)
    return found


def _view(modality: Modality, path: Path) -> np.ndarray:
    content = modality.open(path, Limits())
    try:
        return content.view(0.0, None)
    finally:
        content.close()


def _over_folds(
    data: Path, folds: Sequence[Path], features: Callable[[Path], np.ndarray], make: Callable[[], Classifier]
) -> dict[str, float]:
    """Trains on training and validation samples of each fold, and scores the test samples of all."""
    true, found = [], []
    for fold in folds:
        splits = _splits(fold)
        samples = [(data / name, label, splits[name]) for name, label in _rows(fold)]
        train = [(path, label) for path, label, split in samples if split != "test"]
        test = [(path, label) for path, label, split in samples if split == "test"]
        model = make()
        model.fit(np.stack([features(path) for path, _ in train]), [label for _, label in train])
        found += list(model.predict(np.stack([features(path) for path, _ in test])))
        true += [label for _, label in test]
    right = np.array(true) == np.array(found)
    recalls = [right[np.array(true) == label].mean() for label in sorted(set(true))]
    return {"accuracy": float(right.mean()), "balanced accuracy": float(np.mean(recalls))}


def _rows(table: Path) -> list[tuple[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return [(row["file"], row["label"]) for row in csv.DictReader(file)]


def _splits(table: Path) -> dict[str, str]:
    """Returns the split of each sample: the table's, or the one that the recipe draws with seed 0."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if "split" in rows[0]:
        return {row["file"]: row["split"] for row in rows}
    config: RunConfig = find_recipe("electronic-parts")
    survey = survey_data(str(table), config.source, streams=config.streams, copies=False)
    return dict(prepare_data(survey, config).splits)
