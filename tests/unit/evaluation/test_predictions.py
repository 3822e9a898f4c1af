import re

import numpy as np
import pytest
import torch
from torch import nn

from perceptio.data.dataset import EvaluationSamples
from perceptio.data.records import MAIN
from perceptio.errors import DataError, PerceptioError, UnreachableError
from perceptio.evaluation import loading
from perceptio.evaluation.loading import EvaluationBatches
from perceptio.evaluation.predictions import mean_over_views, predict_batches, score
from perceptio.tasks.classification import SingleLabel, TargetTable
from support.pictures import CLASSES
from support.samples import ArraySource, NoisyReader, UnreachableSource, make_source


class MeanColour(nn.Module):
    """Logits are the mean of each channel: a model whose answers are known by hand. Dropout shows the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

        self.seen: list[int] = []

    def forward(
        self, inputs: dict[str, torch.Tensor], extents: dict[str, torch.Tensor], present: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """Returns (B, 3)."""
        self.seen.append(len(inputs["image"]))
        return self.dropout(inputs["image"].mean(dim=(1, 2)))


def batches(source: ArraySource, size: int = 4, reader: NoisyReader | None = None) -> EvaluationBatches:
    samples = EvaluationSamples(source, source.records, reader or NoisyReader())
    return EvaluationBatches(samples, batch_size=size, num_workers=0)


def predict(
    source: ArraySource,
    model: nn.Module | None = None,
    targets: torch.Tensor | None = None,
    *,
    reader: NoisyReader | None = None,
    views_at_once: int = 4,
):
    return predict_batches(
        model or MeanColour(), batches(source, reader=reader), task=SingleLabel(),
        prepare=lambda name, values: values.float() / 255, device=torch.device("cpu"), targets=targets,
        views_at_once=views_at_once,
    )  # fmt: skip


@pytest.mark.parametrize("workers", [0, 1])
def test_a_network_that_fails_is_told_in_one_line(workers: int):
    source = make_source(5)
    samples = EvaluationSamples(source, source.records, NoisyReader())
    samples.source = UnreachableSource(source)
    message = (
        r"^the disk or network failed \([^\n]*a\.tar, tried 6 times\)\. That is not the files' fault, so nothing was "
        r"skipped; once it works, start again, or go on from the last checkpoint with perceptio train --resume$"
    )
    with pytest.raises(UnreachableError, match=message):
        list(EvaluationBatches(samples, batch_size=4, num_workers=workers))


def test_answers_come_in_order_with_their_losses():
    source = make_source(11)
    targets = TargetTable([record.labels for record in source.records], CLASSES)
    found = predict(source, targets=targets)
    logits = np.stack([array.mean(axis=(0, 1)) / 255 for array in source.arrays.values()])
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert found.indices.tolist() == list(range(11))
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)
    np.testing.assert_allclose(
        found.losses, -np.log(expected[np.arange(11), targets[np.arange(11)].argmax(1).numpy()]), rtol=1e-5
    )
    assert score(found, targets, SingleLabel())["loss"] == pytest.approx(found.losses.mean())


def test_unreadable_samples_are_left_out_of_answers_and_scores():
    source = make_source(11, broken=(0, 1, 2, 3, 6))  # a whole batch and one of the next
    targets = TargetTable([record.labels for record in source.records], CLASSES)
    found = predict(source, targets=targets)
    assert found.indices.tolist() == [4, 5, 7, 8, 9, 10]
    assert [failure.name for failure in found.failures] == ["0", "1", "2", "3", "6"]
    answers = found.probabilities.argmax(axis=1)
    right = np.mean(answers == targets[found.indices].argmax(dim=1).numpy())
    assert score(found, targets, SingleLabel())["accuracy"] == right


def test_without_targets_there_are_no_losses():
    assert predict(make_source(3)).losses.shape == (0,)


def test_dropout_is_off_and_the_mode_comes_back():
    model = MeanColour().train()
    first, second = predict(make_source(5), model), predict(make_source(5), model)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    assert model.training


def test_nothing_readable_is_an_error_with_the_first_reason():
    with pytest.raises(DataError, match=r"none of the 3 samples could be read; 0: broken on purpose"):
        predict(make_source(3, broken=(0, 1, 2)))
    with pytest.raises(DataError, match=r"none of the 0 samples could be read$"):
        predict(make_source(0))


def test_a_small_set_is_decoded_once(monkeypatch):
    reads = []
    monkeypatch.setattr(
        ArraySource, "load", lambda self, record: reads.append(record) or {MAIN: self.arrays[record.name]}
    )
    kept = batches(make_source(5))
    first, second = list(kept), list(kept)
    assert len(reads) == 5
    assert all(
        torch.equal(a.streams["image"].values, b.streams["image"].values) for a, b in zip(first, second, strict=True)
    )


def test_a_large_set_is_decoded_each_time(monkeypatch):
    reads = []
    monkeypatch.setattr(
        ArraySource, "load", lambda self, record: reads.append(record) or {MAIN: self.arrays[record.name]}
    )
    monkeypatch.setattr(loading, "KEPT_BYTES", 3 * 16 * 16 * 3)
    kept = batches(make_source(5), size=2)
    assert [batch.indices.tolist() for batch in kept] == [batch.indices.tolist() for batch in kept]
    assert len(reads) == 10


def test_an_output_that_is_no_number_is_an_error_with_the_way_out():
    class Overflow(MeanColour):
        def forward(self, inputs, extents, present):
            return super().forward(inputs, extents, present) * float("inf")

    message = (
        "the model's output is not a number: its weights grew too large. Usual cause: a learning rate that is too "
        "high; take an earlier checkpoint, or train anew with a lower --learning-rate"
    )
    with pytest.raises(PerceptioError, match=f"^{re.escape(message)}$"):
        predict(make_source(3), Overflow())


class Cramped(MeanColour):
    """Has no memory for more than three samples."""

    def forward(self, inputs, extents, present):
        if len(inputs["image"]) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory (a fake)")
        return super().forward(inputs, extents, present)


@pytest.mark.parametrize("views_at_once", [3, 4, 64])
def test_fewer_at_once_where_memory_does_not_suffice(views_at_once: int):
    source = make_source(11)
    model = Cramped()
    found, expected = predict(source, model, views_at_once=views_at_once), predict(source, MeanColour())
    assert found.indices.tolist() == expected.indices.tolist() == list(range(11))
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-6)
    assert max(model.seen) <= 3


def test_a_sample_that_does_not_fit_is_an_error_with_the_way_out():
    class Full(MeanColour):
        def forward(self, inputs, extents, present):
            raise torch.OutOfMemoryError("CUDA out of memory (a fake)")

    with pytest.raises(
        PerceptioError,
        match=r"memory does not suffice for the model's answer on one sample: use a larger device, or --device cpu$",
    ):
        predict(make_source(3), Full())


class ShiftingReader(NoisyReader):
    """Shows a sample in one, two or three views, as its first value says, each darker than the one before."""

    def evaluation_views(self, items: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Returns the views."""
        (view,) = super().evaluation_views(items)
        count = int(view["image"][0, 0, 0]) % 3 + 1
        return [{"image": view["image"] // (1 + number)} for number in range(count)]


@pytest.mark.parametrize("views_at_once", [1, 3, 4, 64])
def test_the_answer_is_the_mean_over_a_samples_views_however_they_are_cut(views_at_once: int):
    source = make_source(11, broken=(6,))
    targets = TargetTable([record.labels for record in source.records], CLASSES)
    model = MeanColour()
    found = predict(source, model, targets, reader=ShiftingReader(), views_at_once=views_at_once)
    assert max(model.seen) <= views_at_once
    true, expected, losses, counts = targets[np.arange(11)].argmax(dim=1).tolist(), [], [], set()
    for number in found.indices:
        views = ShiftingReader().evaluation_views({MAIN: source.arrays[str(number)]})
        counts.add(len(views))
        logits = np.array([view["image"].astype(np.float64).mean(axis=(0, 1)) / 255 for view in views])
        answers = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        expected.append(answers.mean(axis=0))
        losses.append(-np.log(answers[:, true[number]]).mean())
    assert counts == {1, 2, 3}
    assert found.indices.tolist() == [0, 1, 2, 3, 4, 5, 7, 8, 9, 10]
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1.0, rtol=1e-5)


def test_the_mean_over_views_by_hand():
    indices, values = np.array([7, 7, 2, 5, 5, 5]), np.array([1.0, 3.0, 5.0, 0.0, 3.0, 9.0])
    assert mean_over_views(indices, values).tolist() == [2.0, 5.0, 4.0]
    assert mean_over_views(indices, np.stack([values, -values], axis=1)).tolist() == [[2, -2], [5, -5], [4, -4]]
    single = np.array([[0.1, 0.9], [0.3, 0.7]])
    np.testing.assert_array_equal(mean_over_views(np.array([3, 1]), single), single)
