import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perceptio.data.mixing import MixingConfig
from perceptio.data.order import ShardBlocks, TrainingOrder, batch_mixing, block_order, epoch_order


@st.composite
def orders(draw) -> dict[str, int]:
    """Any run: sizes, seed, and a batch that processes and micro-batches divide."""
    num_processes, num_micro_batches = draw(st.sampled_from([1, 2, 3, 4, 8])), draw(st.sampled_from([1, 2, 3]))
    batch_size = num_processes * num_micro_batches * draw(st.integers(1, 4))
    return {
        "seed": draw(st.integers(0, 2**31)),
        "num_samples": batch_size + draw(st.integers(0, 50)),
        "batch_size": batch_size,
        "num_micro_batches": num_micro_batches,
        "num_steps": draw(st.integers(1, 7)),
        "num_processes": num_processes,
    }


def batches(fields: dict[str, int], *, rank: int = 0, first_step: int = 0):
    return list(TrainingOrder(**fields, rank=rank, first_step=first_step))


@settings(max_examples=500)
@given(orders())
def test_processes_and_micro_batches_partition_the_global_batch(fields):
    parts = [batches(fields, rank=rank) for rank in range(fields["num_processes"])]
    micro = fields["num_micro_batches"]
    alone = TrainingOrder(**{**fields, "num_processes": 1, "num_micro_batches": 1}, first_step=0)
    for step, (whole,) in enumerate(zip(alone, strict=True)):
        shares = [[key for batch in part[step * micro : (step + 1) * micro] for key in batch] for part in parts]
        # Process r holds samples r, r + W, .. of the batch: interleaved, in order, they are the batch itself.
        assert [key for keys in zip(*shares, strict=True) for key in keys] == whole
        assert all(len(part[step * micro]) * micro * len(parts) == len(whole) for part in parts)


@settings(max_examples=500)
@given(orders(), st.data())
def test_going_on_at_any_step_gives_the_same_batches(fields, data):
    first_step = data.draw(st.integers(0, fields["num_steps"]))
    rank = data.draw(st.integers(0, fields["num_processes"] - 1))
    whole = batches(fields, rank=rank)
    rest = batches(fields, rank=rank, first_step=first_step)
    assert rest == whole[first_step * fields["num_micro_batches"] :]
    assert len(TrainingOrder(**fields, rank=rank, first_step=first_step)) == len(rest)


@given(orders())
def test_an_epoch_holds_each_sample_at_most_once_and_drops_less_than_a_batch(fields):
    order = TrainingOrder(**fields, first_step=0)
    seen = [key for step in range(order.steps_per_epoch) for key in order.global_batch(step)]
    assert len(set(seen)) == len(seen) > fields["num_samples"] - fields["batch_size"]
    assert {epoch for epoch, _ in seen} == {0}
    assert {epoch for epoch, _ in order.global_batch(order.steps_per_epoch)} == {1}


@given(seed=st.integers(0, 2**62), epoch=st.integers(0, 1000), num_samples=st.integers(1, 200))
def test_an_epochs_order_is_a_permutation(seed: int, epoch: int, num_samples: int):
    assert sorted(epoch_order(seed, epoch, num_samples)) == list(range(num_samples))


def test_seed_and_epoch_change_the_order():
    """Of 101! orders two are equal by chance with probability 1e-160."""
    orders = [tuple(epoch_order(seed, epoch, 101)) for seed in range(5) for epoch in range(5)]
    assert len(set(orders)) == 25
    assert tuple(epoch_order(0, 0, 101)) == orders[0]


@pytest.mark.parametrize(("num_processes", "num_micro_batches"), [(1, 1), (1, 4), (2, 2), (4, 3)])
def test_partners_are_those_of_the_global_batch(num_processes: int, num_micro_batches: int):
    mixing = MixingConfig(mixup_share=0.3, cutmix_share=0.3)
    fields = {
        "seed": 5, "num_samples": 60, "batch_size": 24, "num_micro_batches": num_micro_batches,
        "num_steps": 4, "first_step": 0, "mixing": mixing, "num_processes": num_processes,
    }  # fmt: skip
    for step in range(4):
        whole = batch_mixing(mixing, 5, step, 24)
        keys = TrainingOrder(**fields).global_batch(step)
        expected = {keys[row]: keys[partner] for row, partner in enumerate(whole.partners)}
        found = {}
        for rank in range(num_processes):
            order = TrainingOrder(**fields, rank=rank)
            for micro in range(num_micro_batches):
                loaded = order.micro_batch(step, micro)
                own = loaded.keys[: len(loaded.mixing)]
                found |= {key: loaded.keys[row] for key, row in zip(own, loaded.mixing.partners, strict=True)}
        assert found == expected
        assert any(key != partner for key, partner in found.items())


def test_without_mixing_nothing_is_loaded_beside_the_batch():
    order = TrainingOrder(seed=0, num_samples=9, batch_size=8, num_micro_batches=2, first_step=0, num_steps=1)
    assert order.micro_batch(0, 1).mixing is None
    assert order.micro_batch(0, 0).keys + order.micro_batch(0, 1).keys == order.global_batch(0)


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 12), st.integers(0, 2**31), st.integers(0, 3)
)
def test_blocks_of_shards_are_read_one_after_the_other(shards: list[int], together: int, seed: int, epoch: int):
    order = block_order(seed, epoch, ShardBlocks(np.array(shards), together))
    assert sorted(order.tolist()) == list(range(len(shards)))
    visited = np.array(shards)[order]
    blocks: list[set[int]] = [set()]
    for shard in visited.tolist():
        if shard not in blocks[-1] and len(blocks[-1]) == together:
            blocks.append(set())
        blocks[-1].add(shard)
    assert sum(map(len, blocks)) == len(set(shards))  # no shard is opened a second time
    assert np.array_equal(order, block_order(seed, epoch, ShardBlocks(np.array(shards), together)))
    everything = block_order(seed, epoch, ShardBlocks(np.array(shards), 10))
    assert np.array_equal(everything, epoch_order(seed, epoch, len(shards)))


def test_blocks_differ_by_epoch_and_shuffle_within():
    blocks = ShardBlocks(np.arange(1000) // 100, 2)
    first, second = (block_order(0, epoch, blocks) for epoch in (0, 1))
    shards = [tuple(dict.fromkeys((order // 100).tolist())) for order in (first, second)]
    assert set(shards[0]) == set(shards[1]) == set(range(10))
    assert shards[0] != shards[1]
    assert len({*(first[:200] // 100).tolist()}) == 2
    mixed = np.diff((first[:200] // 100) == first[0] // 100).sum()
    assert 60 < mixed < 140  # about every second neighbour lies in the other shard


def test_processes_share_the_batches_of_blocks():
    blocks = ShardBlocks(np.arange(24) // 6, 1)
    fields = {"seed": 1, "num_samples": 24, "batch_size": 4, "num_steps": 12, "first_step": 3, "blocks": blocks}
    alone = TrainingOrder(**fields, num_micro_batches=1)
    shares = [list(TrainingOrder(**fields, num_micro_batches=1, rank=rank, num_processes=2)) for rank in (0, 1)]
    for step, parts in enumerate(zip(*shares, strict=True), start=3):
        assert sorted(parts[0] + parts[1]) == sorted(alone.global_batch(step))
