"""Which gradients travel together. That they come back averaged is seen by two processes (test_processes)."""

import torch

from perceptio.training.exchange import buckets


def test_tensors_travel_in_their_order_as_many_together_as_fit():
    tensors = [torch.zeros(size) for size in (10, 20, 30, 100, 5, 5)]
    found = list(buckets(tensors, 4 * 60))
    assert [[tensor.numel() for tensor in bucket] for bucket in found] == [[10, 20, 30], [100], [5, 5]]
    assert [id(tensor) for bucket in found for tensor in bucket] == [id(tensor) for tensor in tensors]
    assert [len(bucket) for bucket in buckets(tensors, 4 * 59)] == [2, 1, 1, 2]


def test_types_are_not_mixed():
    tensors = [torch.zeros(2), torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2)]
    assert [len(bucket) for bucket in buckets(tensors, 1000)] == [1, 1, 1]


def test_nothing_needs_no_exchange():
    assert list(buckets([], 1000)) == []
