import hashlib
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from perceptio.data.batches import Batch, collate, make_loader, model_inputs, standardise
from perceptio.data.dataset import MAX_STAND_INS, EvaluationSamples, Sample, TrainingSamples
from perceptio.data.order import TrainingOrder
from perceptio.data.records import Skipped
from support.samples import NoisyReader, make_source


def sample(index: int, **values: np.ndarray) -> Sample:
    """A sample with one view."""
    return Sample(index, (values,))


def filled(value: int, *shape: int) -> np.ndarray:
    return np.full(shape, value, dtype=np.uint8)


def test_samples_of_one_size_have_no_extents():
    batch = collate([sample(4, image=filled(1, 3, 5, 2)), sample(2, image=filled(7, 3, 5, 2))])
    (stream,) = batch.streams.values()
    assert (stream.extents, stream.present) == (None, None)
    assert stream.values.shape == (2, 3, 5, 2)
    assert stream.values.dtype == torch.uint8
    assert batch.indices.tolist() == [4, 2]
    assert stream.values[1].unique().tolist() == [7]
    assert batch.num_bytes == 2 * 3 * 5 * 2


def test_samples_of_different_sizes_are_padded_at_the_end_of_each_axis():
    shapes = [(3, 5), (2, 7), (3, 1)]
    batch = collate([sample(row, image=filled(row + 1, *shape, 2)) for row, shape in enumerate(shapes)])
    image = batch.streams["image"]
    assert image.extents is not None
    assert image.extents.tolist() == [list(shape) for shape in shapes]
    assert image.present is None
    assert image.values.shape == (3, 3, 7, 2)
    for row, (height, width) in enumerate(shapes):
        expected = np.zeros((3, 7, 2), dtype=np.uint8)
        expected[:height, :width] = row + 1
        np.testing.assert_array_equal(image.values[row].numpy(), expected)


def test_one_axis_and_three_axes_are_padded_as_well():
    """In one batch, each stream to its own size."""
    batch = collate(
        [
            sample(0, audio=filled(1, 5, 1), video=filled(1, 2, 3, 5, 3)),
            sample(1, audio=filled(2, 7, 1), video=filled(2, 3, 2, 5, 3)),
        ]
    )
    audio, video = batch.streams["audio"], batch.streams["video"]
    assert audio.extents is not None
    assert video.extents is not None
    assert (audio.extents.tolist(), audio.values.shape) == ([[5], [7]], (2, 7, 1))
    assert (video.extents.tolist(), video.values.shape) == ([[2, 3, 5], [3, 2, 5]], (2, 3, 3, 5, 3))


def test_samples_without_views_are_left_out_and_their_failures_kept():
    bad = Skipped("b.png", "empty file")
    shown = {"image": filled(1, 2, 3, 1)}
    batch = collate([Sample(0, (), (bad,)), Sample(1, (shown,)), Sample(2, (shown,), (bad,))])
    assert batch.indices.tolist() == [1, 2]
    assert len(batch) == len(batch.streams["image"].values) == 2
    assert batch.failures == (bad, bad)


def test_a_batch_without_any_views_is_empty():
    batch = collate([Sample(0, (), (Skipped("b.png", "empty file"),))])
    assert (len(batch), len(batch.failures), dict(batch.streams)) == (0, 1, {})


def test_the_views_of_a_sample_follow_each_other_under_its_index():
    views = tuple({"image": filled(value, 2, 3, 1)} for value in (1, 2, 3))
    batch = collate([Sample(5, views), sample(7, image=filled(4, 2, 3, 1))])
    assert batch.indices.tolist() == [5, 5, 5, 7]
    assert batch.streams["image"].values.flatten(1)[:, 0].tolist() == [1, 2, 3, 4]


def test_a_stream_that_a_sample_lacks_is_zeros_and_said():
    """It is no reason to call the others padded, and its row does not claim a size of its own."""
    batch = collate(
        [sample(0, audio=filled(3, 5, 1)), sample(1, image=filled(7, 2, 3, 1)), sample(2, audio=filled(9, 5, 1))]
    )
    audio, image = batch.streams["audio"], batch.streams["image"]
    assert (audio.extents, image.extents) == (None, None)
    assert audio.present is not None
    assert image.present is not None
    assert (audio.present.tolist(), image.present.tolist()) == ([True, False, True], [False, True, False])
    assert audio.values[:, :, 0].tolist() == [[3] * 5, [0] * 5, [9] * 5]
    assert image.values.flatten(1)[:, 0].tolist() == [0, 7, 0]


def test_sizes_and_absence_come_together():
    batch = collate(
        [sample(0, audio=filled(3, 5, 1)), sample(1, image=filled(7, 2, 3, 1)), sample(2, audio=filled(9, 7, 1))]
    )
    audio = batch.streams["audio"]
    assert audio.extents is not None
    assert audio.present is not None
    assert audio.extents[[0, 2]].tolist() == [[5], [7]]
    assert audio.present.tolist() == [True, False, True]
    assert audio.values.sum(dim=(1, 2)).tolist() == [15, 0, 63]


def test_parts_cut_every_tensor_and_keep_the_order():
    shapes = [(3, 5), (2, 7), (3, 1), (1, 1), (2, 2)]
    samples = [sample(row, image=filled(row + 1, *shape, 2)) for row, shape in enumerate(shapes)]
    samples[3] = sample(3, audio=filled(9, 3, 1))
    batch = replace(collate(samples), failures=(Skipped("b.png", "empty file"),))
    parts = list(batch.parts(2))
    assert [part.indices.tolist() for part in parts] == [[0, 1], [2, 3], [4]]
    assert [part.failures for part in parts] == [(), (), ()]
    for name, whole in batch.streams.items():
        for field in ("values", "extents", "present"):
            pieces = [getattr(part.streams[name], field) for part in parts]
            if getattr(whole, field) is None:
                assert pieces == [None, None, None], (name, field)
            else:
                assert torch.equal(torch.cat(pieces), getattr(whole, field)), (name, field)


def test_a_model_is_given_prepared_values_and_only_the_extents_and_presences_that_there_are():
    batch = collate([sample(0, audio=filled(3, 5, 1), image=filled(7, 2, 3, 1)), sample(1, image=filled(9, 3, 2, 1))])
    inputs, extents, present = model_inputs(batch, lambda name, values: values.float() + len(name))
    assert inputs["audio"].unique().tolist() == [5.0, 8.0]
    assert inputs["image"].unique().tolist() == [5.0, 12.0, 14.0]
    assert {name: value.tolist() for name, value in extents.items()} == {"image": [[2, 3], [3, 2]]}
    assert {name: value.tolist() for name, value in present.items()} == {"audio": [True, False]}


def test_a_batch_moves_to_a_device_as_a_whole():
    batch = collate(
        [sample(0, audio=filled(3, 5, 1)), sample(1, audio=filled(3, 7, 1)), sample(2, image=filled(7, 2, 3, 1))]
    )
    moved = batch.to(torch.device("meta"))
    for stream in moved.streams.values():
        for tensor in (stream.values, stream.extents, stream.present):
            assert tensor is None or tensor.is_meta
    assert torch.equal(moved.indices, batch.indices), "indices stay where targets are looked up"


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
        assert torch.equal(a.streams["image"].values, b.streams["image"].values)
        assert torch.equal(a.indices, b.indices)
        assert a.failures == b.failures
    assert sum(len(batch.failures) for batch in alone) > 0, "a stand-in was among them"


def epoch_in_batches(size: int, num_workers: int = 0, method: str | None = None, prefetch: int | None = None) -> str:
    """Returns a hash of all samples of an epoch in their order, as a loader with these settings gives them."""
    source = make_source(11, broken=(3,))
    samples = TrainingSamples(source, source.records, NoisyReader(), seed=1)
    batches = [[(2, index) for index in range(start, min(start + size, 11))] for start in range(0, 11, size)]
    loader = make_loader(samples, batches, num_workers=num_workers)
    if num_workers:
        loader.multiprocessing_context = method
        loader.prefetch_factor = prefetch
    found = hashlib.sha256()
    for batch in loader:
        for index, values in zip(batch.indices.tolist(), batch.streams["image"].values, strict=True):
            found.update(f"{index} ".encode() + values.numpy().tobytes())
    return found.hexdigest()


@pytest.mark.parametrize(
    ("size", "num_workers", "method", "prefetch"),
    [(3, 1, "forkserver", 1), (1, 2, "spawn", 4), (5, 2, "fork", 1), (2, 4, "fork", 3)],
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_start_method_prefetch_and_batch_size_change_no_sample(size: int, num_workers: int, method: str, prefetch: int):
    """A sample's randomness hangs on its key alone: no process, no queue and no neighbour has a say in it."""
    assert epoch_in_batches(size, num_workers, method, prefetch) == epoch_in_batches(4)


def test_a_loader_made_anew_for_each_batch_changes_no_sample():
    source = make_source(11, broken=(3,))
    samples = TrainingSamples(source, source.records, NoisyReader(), seed=1)
    batches = [[(2, index), (2, index + 1)] for index in range(0, 10, 2)]
    whole = list(make_loader(samples, batches, num_workers=0))
    anew = [batch for keys in batches for batch in make_loader(samples, [keys], num_workers=0)]
    for a, b in zip(whole, anew, strict=True):
        assert torch.equal(a.streams["image"].values, b.streams["image"].values)
        assert torch.equal(a.indices, b.indices)


def test_a_loader_draws_nothing_from_the_global_generator():
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    load(0)
    assert torch.equal(torch.rand(5), expected)


class SlowReader(NoisyReader):
    """Takes a while, so that batches are still to come when a signal arrives."""

    def evaluation_views(self, items: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Returns the array, late."""
        time.sleep(0.05)
        return super().evaluation_views(items)


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
