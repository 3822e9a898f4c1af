import os
import signal
import time

import numpy as np
import torch

from perceptio.data.batches import Batch, collate, make_loader, standardise
from perceptio.data.dataset import MAX_STAND_INS, EvaluationSamples, Sample, TrainingSamples
from perceptio.data.order import TrainingOrder
from perceptio.data.records import Skipped
from support.samples import NoisyReader, make_source


def filled(value: int, *shape: int) -> np.ndarray:
    return np.full(shape, value, dtype=np.uint8)


def test_samples_of_one_size_have_no_extents():
    batch = collate([Sample(4, filled(1, 3, 5, 2)), Sample(2, filled(7, 3, 5, 2))])
    assert batch.extents is None
    assert batch.values.shape == (2, 3, 5, 2)
    assert batch.values.dtype == torch.uint8
    assert batch.indices.tolist() == [4, 2]
    assert batch.values[1].unique().tolist() == [7]


def test_samples_of_different_sizes_are_padded_at_the_end_of_each_axis():
    shapes = [(3, 5), (2, 7), (3, 1)]
    batch = collate([Sample(row, filled(row + 1, *shape, 2)) for row, shape in enumerate(shapes)])
    assert batch.extents is not None
    assert batch.extents.tolist() == [list(shape) for shape in shapes]
    assert batch.values.shape == (3, 3, 7, 2)
    for row, (height, width) in enumerate(shapes):
        expected = np.zeros((3, 7, 2), dtype=np.uint8)
        expected[:height, :width] = row + 1
        np.testing.assert_array_equal(batch.values[row].numpy(), expected)


def test_one_axis_and_three_axes_are_padded_as_well():
    audio = collate([Sample(0, filled(1, 5, 1)), Sample(1, filled(2, 7, 1))])
    video = collate([Sample(0, filled(1, 2, 3, 5, 3)), Sample(1, filled(2, 3, 2, 5, 3))])
    assert audio.extents is not None
    assert video.extents is not None
    assert (audio.extents.tolist(), audio.values.shape) == ([[5], [7]], (2, 7, 1))
    assert (video.extents.tolist(), video.values.shape) == ([[2, 3, 5], [3, 2, 5]], (2, 3, 3, 5, 3))


def test_samples_without_values_are_left_out_and_their_failures_kept():
    bad = Skipped("b.png", "empty file")
    batch = collate([Sample(0, None, (bad,)), Sample(1, filled(1, 2, 3, 1)), Sample(2, filled(2, 2, 3, 1), (bad,))])
    assert batch.indices.tolist() == [1, 2]
    assert len(batch) == len(batch.values) == 2
    assert batch.failures == (bad, bad)


def test_a_batch_without_any_values_is_empty():
    batch = collate([Sample(0, None, (Skipped("b.png", "empty file"),))])
    assert (len(batch), len(batch.failures)) == (0, 1)


def test_standardise_by_hand():
    values = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    found = standardise(values, mean=(0.5, 0.2, 0.0), std=(0.5, 0.1, 4.0))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.flatten(), torch.tensor([-1.0, 0.0, 0.25]))


def load(num_workers: int) -> list[Batch]:
    source = make_source(11, broken=(3,))
    order = TrainingOrder(seed=1, num_samples=11, batch_size=4, num_micro_batches=2, first_step=0, num_steps=5)
    samples = TrainingSamples(source, source.records, NoisyReader(), seed=1)
    return list(make_loader(samples, order, num_workers=num_workers))


def test_any_number_of_workers_gives_the_same_bytes():
    alone, parallel = load(0), load(2)
    assert len(alone) == len(parallel) == 10
    for a, b in zip(alone, parallel, strict=True):
        assert torch.equal(a.values, b.values)
        assert torch.equal(a.indices, b.indices)
        assert a.failures == b.failures
    assert sum(len(batch.failures) for batch in alone) > 0, "a stand-in was among them"


def test_a_loader_draws_nothing_from_the_global_generator():
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    load(0)
    assert torch.equal(torch.rand(5), expected)


class SlowReader(NoisyReader):
    """Takes a while, so that batches are still to come when a signal arrives."""

    def evaluation_view(self, decoded: np.ndarray) -> np.ndarray:
        """Returns the array, late."""
        time.sleep(0.05)
        return decoded


def test_ctrl_c_in_a_terminal_does_not_reach_the_workers():
    """It goes to every process of the group; the main one finishes its step with batches that are still to come."""
    source = make_source(24)
    samples = EvaluationSamples(source, source.records, SlowReader())
    batches = iter(make_loader(samples, [[number] for number in range(24)], num_workers=2))
    found = [next(batches), next(batches)]  # one of each worker: both have begun
    for worker in batches._workers:
        os.kill(worker.pid, signal.SIGINT)
    found += batches
    assert [batch.indices.item() for batch in found] == list(range(24))


def test_files_that_cannot_be_read_leave_an_empty_batch_with_their_names():
    source = make_source(5, broken=tuple(range(5)))
    samples = TrainingSamples(source, source.records, NoisyReader(), seed=1)
    (batch,) = make_loader(samples, [[(0, 0)]], num_workers=1)
    assert len(batch) == 0
    assert len(batch.failures) == MAX_STAND_INS
    assert {failure.reason for failure in batch.failures} == {"broken on purpose"}
