"""Recipes on real data, several seeds: drum hits, electronic parts, moving garments, stamps, each with its baseline.

The data sets come from `benchmarks/datasets`. A run whose folder is finished is not run again, so that the script may
be stopped and restarted, and seeds may run side by side. Every model chooses its epoch on validation samples of
training and sees the test samples once.

Usage: python benchmarks/real_data.py drum-hits --data drum-hits/ [--seeds 0 1 2] [--out runs/real-data] [--json]
       python benchmarks/real_data.py electronic-parts --data parts/
       python benchmarks/real_data.py moving-garments --data moving/
       python benchmarks/real_data.py stamps --data stamps/
       python benchmarks/real_data.py drum-hits --data drum-hits/ --baseline
       python benchmarks/real_data.py stamps --data stamps/ --curves stamps.png
"""

import argparse
import csv
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from baselines import BASELINES
from measure import print_surroundings, print_table, surroundings

from perceptio.recipes.registry import find_recipe
from perceptio.reporting.curves import Panel, Series, panels_png
from perceptio.runs.evaluate import evaluate_run
from perceptio.runs.folder import RunFolder
from perceptio.runs.resume import resume_run
from perceptio.runs.train import train_run
from perceptio.runs.workbench import TrainOptions
from perceptio.tasks.metrics import accuracy, balanced_accuracy

SPLIT_STREAMS = {"stamps": ("video", "audio")}
"""Tasks whose test is repeated with each of these streams alone."""
LABEL_PARTS = {"stamps": ("category", "language")}
"""Tasks whose labels are several words in one, joined by "_", and what each word is."""


@dataclass(frozen=True)
class Answers:
    """True classes and probabilities of test samples, by class name, over all folds."""

    true: list[str]
    probabilities: list[Mapping[str, float]]

    def scores(self) -> dict[str, float]:
        """Returns accuracy and balanced accuracy over all samples."""
        classes = sorted({name for row in self.probabilities for name in row})
        rows = np.array([[row[name] for name in classes] for row in self.probabilities])
        true = np.array([classes.index(name) for name in self.true])
        return {"accuracy": accuracy(rows, true), "balanced accuracy": balanced_accuracy(rows, true)}

    def part(self, number: int) -> "Answers":
        """Returns the answers to one word of the labels: its probability is the sum over all labels that hold it."""
        found = []
        for row in self.probabilities:
            sums: dict[str, float] = {}
            for label, probability in row.items():
                word = label.split("_")[number]
                sums[word] = sums.get(word, 0.0) + probability
            found.append(sums)
        return Answers([label.split("_")[number] for label in self.true], found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("drum-hits", "electronic-parts", "moving-garments", "stamps"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/real-data"))
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--baseline", action="store_true")
    parser.add_argument("--curves", type=Path, help="a picture of loss and validation accuracy, a line for each seed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_interop_threads(1)
    folds = sorted(options.data.glob("fold-*.csv")) or [options.data / "metadata.csv"]
    if options.baseline:
        rows = [
            {"model": name, **{key: [value] for key, value in baseline(options.data, folds).items()}}
            for name, baseline in BASELINES[options.task].items()
        ]
    else:
        rows = perceiver_rows(options.task, folds, options.seeds, options.out, options.epochs)
        if options.curves is not None:
            options.curves.write_bytes(panels_png(panels(options.task, folds, options.seeds, options.out), None))
    if options.json:
        print(json.dumps({"task": options.task, "rows": rows, **surroundings("cpu")}))
        return
    print_table(["model", "score", "each seed", "mean", "spread"], [line for row in rows for line in show(row)])
    print_surroundings("cpu")


def perceiver_rows(
    task: str, folds: Sequence[Path], seeds: Sequence[int], out: Path, epochs: float | None
) -> list[dict[str, object]]:
    """Returns a row for the whole model and one for each stream alone, with the scores of every seed."""
    found: dict[str, list[dict[str, float]]] = {}
    seconds: list[float] = []
    for seed in seeds:
        runs = [trained(task, fold, seed, out, epochs) for fold in folds]
        seconds.append(sum(RunFolder(run).read_facts()["seconds"] for run in runs))
        answers = {"Perceiver": pooled([read_answers(run) for run in runs])}
        for stream in SPLIT_STREAMS.get(task, ()):
            answers[f"Perceiver, {stream} only"] = pooled([answers_with(run, stream) for run in runs])
        for name, given in answers.items():
            found.setdefault(name, []).append(given.scores())
            for number, part in enumerate(LABEL_PARTS.get(task, ())):
                found.setdefault(f"{name}: {part}", []).append(given.part(number).scores())
    rows: list[dict[str, object]] = [
        {"model": name, **{key: [score[key] for score in scores] for key in scores[0]}}
        for name, scores in found.items()
    ]
    rows[0]["training seconds"] = seconds
    return rows


def run_path(task: str, fold: Path, seed: int, out: Path) -> Path:
    """Returns where the run of a fold and a seed lies."""
    return out / f"{task}-{fold.stem}-{seed}"


def trained(task: str, fold: Path, seed: int, out: Path, epochs: float | None) -> Path:
    """Returns the folder of a finished run, trained now if need be."""
    path = run_path(task, fold, seed, out)
    folder = RunFolder(path)
    if "test" in folder.read_facts():
        return path
    if any(folder.checkpoints.glob("step-*")):
        resume_run(path)
        return path
    config = replace(find_recipe(task), data=str(fold.absolute()), seed=seed)
    if epochs is not None:
        config = replace(config, epochs=epochs)
    train_run(config, TrainOptions(out=path, workers=0, command=f"python benchmarks/real_data.py {task}"))
    return path


def read_answers(run: Path) -> Answers:
    """Returns what a run answered to its test samples."""
    with RunFolder(run).predictions.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in ("file", "labels", "predicted")]
    return Answers([row["labels"] for row in rows], [{name: float(row[name]) for name in names} for row in rows])


def answers_with(run: Path, stream: str) -> Answers:
    """Returns what a run answers to its test samples when it is given one stream alone."""
    measured = evaluate_run(run, streams=(stream,), workers=0)
    found = measured.predictions
    return Answers(
        [measured.records[index].labels[0] for index in found.indices],
        [dict(zip(measured.classes, row.tolist(), strict=True)) for row in found.probabilities],
    )


def pooled(parts: Sequence[Answers]) -> Answers:
    """Returns the answers of all folds together: each sample is in the test of one fold."""
    classes = {name for part in parts for row in part.probabilities for name in row}
    rows = [{**dict.fromkeys(classes, 0.0), **row} for part in parts for row in part.probabilities]
    return Answers([name for part in parts for name in part.true], rows)


def panels(task: str, folds: Sequence[Path], seeds: Sequence[int], out: Path) -> list[Panel]:
    """Returns curves of finished runs: each seed's mean over its folds."""
    histories = {seed: [read_curves(run_path(task, fold, seed, out)) for fold in folds] for seed in seeds}
    found = []
    for key, title in (("train_loss", "Training loss"), ("validation_accuracy", "Validation accuracy")):
        series = []
        for look, (seed, runs) in enumerate(histories.items()):
            points = tuple(
                (float(rows[0]["epoch"]), statistics.mean(float(row[key]) for row in rows))
                for rows in zip(*runs, strict=True)
            )
            series.append(Series(label=f"seed {seed}", look=look, points=points))
        found.append(Panel(title=title, series=tuple(series), percent=key != "train_loss"))
    return found


def read_curves(run: Path) -> list[Mapping[str, float]]:
    """Returns a run's rows of metrics, one for each epoch."""
    return [json.loads(line) for line in RunFolder(run).metrics.read_text(encoding="utf-8").splitlines()]


def show(row: Mapping[str, object]) -> list[list[str]]:
    """Returns a line of the table for each score of a model."""
    lines = []
    for name, values in row.items():
        if isinstance(values, list):
            numbers = [f"{value:.0f}" if "seconds" in name else f"{value:.1%}" for value in values]
            mean, spread = statistics.mean(values), max(values) - min(values)
            shown = [f"{mean:.0f}", f"{spread:.0f}"] if "seconds" in name else [f"{mean:.1%}", f"{spread:.1%}"]
            lines.append([str(row["model"]), name, ", ".join(numbers), *shown])
    return lines


if __name__ == "__main__":
    main()
