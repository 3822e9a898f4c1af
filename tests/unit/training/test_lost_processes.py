from collections.abc import Iterator

import pytest
import torch.distributed as dist

from perceptio.errors import PerceptioError
from perceptio.training.processes import Processes


@pytest.fixture
def processes() -> Iterator[Processes]:
    """A group of one: what it says about others is said by the same code."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Processes(dist.group.WORLD, dist.HashStore())
    dist.destroy_process_group()


def test_a_process_that_is_gone_without_a_word_is_an_error_with_the_way_out(processes: Processes):
    with pytest.raises(PerceptioError) as raised, processes.connected():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1")
    told = str(raised.value)
    assert told.startswith(
        "process 0 waited in vain for another one, which was killed or hangs (Connection closed by peer)"
    )
    assert told.endswith(
        "). The last checkpoint is untouched: go on with --resume. If nothing hangs and the disk is slow: "
        "--timeout-minutes"
    )
