"""Which files a person should look at: the surest mistakes, the least sure answers, and labels that may be wrong."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from perceptio.data.records import Record
from perceptio.reporting.content import JudgedFile
from perceptio.runs.measured import Measured
from perceptio.tasks.suspects import sure_contradictions

SHOWN_ANSWERS = 2

Draw = Callable[[Record], np.ndarray | None]
"""Returns a record as a picture for people, None if its file can no longer be read."""


@dataclass(frozen=True)
class Pick:
    """One sample of a measured split, and what there is to say about it, the first thing first.

    Attributes:
        answers: (class, probability) pairs; in a class's place may stand "no CLASS".
    """

    measured: Measured
    place: int
    answers: tuple[tuple[str, float], ...]

    @property
    def record(self) -> Record:
        """The sample's record."""
        return self.measured.records[int(self.measured.predictions.indices[self.place])]


def surest_mistakes(measured: Measured, top: int) -> list[Pick]:
    """Returns answers that are wrong, the surest first. Of several labels a sample each one is an answer of its own."""
    if measured.confusion is None:
        return [_pick_label(measured, cell) for cell in _wrong_labels(measured, top)]
    probabilities = measured.predictions.probabilities
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != measured.rows.argmax(axis=1))
    order = np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")
    return [_pick_class(measured, int(place)) for place in wrong[order][:top]]


def least_sure(measured: Measured, top: int) -> list[Pick]:
    """Returns the samples that the model can tell least: its two first classes nearly equal, or a label near 50 %."""
    probabilities = measured.predictions.probabilities
    if measured.confusion is None:
        doubt = np.abs(probabilities - 0.5)
        places = np.argsort(doubt.min(axis=1), kind="stable")[:top]
        return [_pick_label(measured, (int(place), int(doubt[place].argmin()))) for place in places]
    first_two = np.sort(probabilities, axis=1)[:, -2:]
    places = np.argsort(np.ptp(first_two, axis=1), kind="stable")[:top]
    return [_pick_class(measured, int(place)) for place in places]


def suspects(splits: Sequence[Measured]) -> list[Pick]:
    """Returns the samples whose labels may be wrong by the rule of `sure_contradictions` over all splits, surest first.

    With several labels a sample: those that seem to lack a label.
    """
    picks, probabilities, agrees = [], [], []
    for measured in splits:
        for pick, agreeing in _sure_answers(measured):
            picks.append(pick)
            probabilities.append(pick.answers[0][1])
            agrees.append(agreeing)
    found = sure_contradictions(np.array(probabilities, dtype=np.float64), np.array(agrees, dtype=np.bool_))
    return [picks[place] for place in found]


def judged(pick: Pick, draw: Draw) -> JudgedFile:
    """Returns a pick as the report shows it."""
    record = pick.record
    return JudgedFile(
        file=record.name,
        split=pick.measured.split,
        image=draw(record),
        labelled=", ".join(record.labels) or "nothing",
        answers=pick.answers,
    )


def _sure_answers(measured: Measured) -> Iterator[tuple[Pick, bool]]:
    """Yields answers and whether the label agrees. Of unlikely labels nothing follows, so they are left out."""
    present = measured.rows > 0.5
    if measured.confusion is None:
        for place, label in np.argwhere(measured.predictions.probabilities >= 0.5).tolist():
            yield _pick_label(measured, (place, label)), bool(present[place, label])
        return
    for place, label in enumerate(measured.predictions.probabilities.argmax(axis=1).tolist()):
        yield _pick_class(measured, place), bool(present[place, label])


def _wrong_labels(measured: Measured, top: int) -> list[tuple[int, int]]:
    present, probabilities = measured.rows > 0.5, measured.predictions.probabilities
    wrong = (probabilities >= 0.5) != present
    error = np.where(wrong, np.abs(probabilities - present), 0.0)
    cells = np.argsort(-error, axis=None, kind="stable")[:top]
    places = np.stack(np.unravel_index(cells, error.shape), axis=1)
    return [(int(place), int(label)) for place, label in places if wrong[place, label]]


def _pick_class(measured: Measured, place: int) -> Pick:
    row = measured.predictions.probabilities[place]
    ranked = np.argsort(-row, kind="stable")[:SHOWN_ANSWERS]
    return Pick(measured, place, tuple((measured.classes[label], float(row[label])) for label in ranked))


def _pick_label(measured: Measured, cell: tuple[int, int]) -> Pick:
    place, label = cell
    probability = float(measured.predictions.probabilities[cell])
    name = measured.classes[label]
    answer = (name, probability) if probability >= 0.5 else (f"no {name}", 1.0 - probability)
    return Pick(measured, place, (answer,))
