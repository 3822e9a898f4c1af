"""The order of training samples as a function of the seed and the step: nothing about it is ever saved.

Global batch k of an epoch is `epoch_order(..)[k * B : (k + 1) * B]`; what is left over at the end of an epoch is
dropped. Which of its samples are mixed with which is a function of the step as well. Any number of processes, workers
and micro-batches, and any step at which training goes on, gives the same batches.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from perceptio.data.mixing import Mixing, MixingConfig, draw_mixing
from perceptio.randomness import generator

SampleKey = tuple[int, int]
"""(epoch from 0, index of the sample): all that a sample's random choices depend on, beside the seed."""


@lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    """Returns the permutation of the samples in an epoch, read-only. Drawn once an epoch, not once a step."""
    order = generator(seed, "order", epoch).permutation(num_samples)
    order.setflags(write=False)
    return order


@lru_cache(maxsize=8)
def batch_mixing(config: MixingConfig, seed: int, step: int, batch_size: int) -> Mixing:
    """Returns how the samples of a global batch are mixed: asked for by the loader, and when the batch is there."""
    return draw_mixing(config, batch_size, generator(seed, "mix", step))


@dataclass(frozen=True)
class MicroBatch:
    """What is loaded at once.

    Attributes:
        keys: the micro-batch's own samples, and after them partners that its samples are mixed with.
        mixing: how the own samples are mixed, or None when nothing is.
    """

    keys: list[SampleKey]
    mixing: Mixing | None = None


@dataclass(frozen=True, eq=False)
class ShardBlocks:
    """Samples that lie in shards, of which only some are read at a time.

    Attributes:
        shards: int64 (samples,), the number of the shard that each sample lies in.
        together: how many shards are read, and shuffled, together.
    """

    shards: np.ndarray
    together: int


@lru_cache(maxsize=2)
def block_order(seed: int, epoch: int, blocks: ShardBlocks) -> np.ndarray:
    """Returns an epoch's permutation in blocks of shards, read-only: shards in any order, samples within a block.

    With all shards together it is `epoch_order`.
    """
    names, numbers = np.unique(blocks.shards, return_inverse=True)
    places = generator(seed, "shard order", epoch).permutation(len(names))
    order = epoch_order(seed, epoch, len(numbers))
    # Stable: within a block the samples keep the order of the whole shuffle.
    order = order[np.argsort(places[numbers[order]] // blocks.together, kind="stable")]
    order.setflags(write=False)
    return order


@dataclass(frozen=True, kw_only=True)
class TrainingOrder:
    """The micro-batches of a run from one step on, for one of several processes.

    Attributes:
        batch_size: samples in one optimizer step over all processes and micro-batches (B).
        num_micro_batches: parts into which each process splits its share of a batch.
        first_step: the step at which training starts or goes on, from 0.
        num_steps: steps of the whole run.
        mixing: which share of the samples is mixed.
        blocks: the shards that the samples lie in, where they are not all shuffled together.
        rank, num_processes: process `rank` takes samples rank, rank + num_processes, .. of each batch.
    """

    seed: int
    num_samples: int
    batch_size: int
    num_micro_batches: int
    first_step: int
    num_steps: int
    mixing: MixingConfig = field(default_factory=MixingConfig)
    blocks: ShardBlocks | None = None
    rank: int = 0
    num_processes: int = 1

    def __post_init__(self) -> None:
        assert 0 < self.batch_size <= self.num_samples
        parts = self.num_processes * self.num_micro_batches
        assert self.batch_size % parts == 0, "training.job.check_batch_size has said so"

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.num_samples // self.batch_size

    def global_batch(self, step: int) -> list[SampleKey]:
        """Returns the samples of one optimizer step, all processes together."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self.blocks is None:
            order = epoch_order(self.seed, epoch, self.num_samples)
        else:
            order = block_order(self.seed, epoch, self.blocks)
        chosen = order[position * self.batch_size : (position + 1) * self.batch_size]
        return [(epoch, int(index)) for index in chosen]

    def micro_batch(self, step: int, micro: int) -> MicroBatch:
        """Returns one of this process's micro-batches of a step."""
        samples = self.global_batch(step)
        share = range(self.rank, self.batch_size, self.num_processes)
        size = len(share) // self.num_micro_batches
        places = share[micro * size : (micro + 1) * size]
        if not self.mixing.active:
            return MicroBatch([samples[place] for place in places])
        mixing, guests = batch_mixing(self.mixing, self.seed, step, self.batch_size).part(places)
        return MicroBatch([samples[place] for place in (*places, *guests)], mixing)

    def __len__(self) -> int:
        return (self.num_steps - self.first_step) * self.num_micro_batches

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for step in range(self.first_step, self.num_steps):
            for micro in range(self.num_micro_batches):
                yield self.micro_batch(step, micro).keys
