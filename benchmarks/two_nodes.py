"""Two launchers on one machine stand in for two nodes, the second of which sees no run folder.

python benchmarks/two_nodes.py        about two minutes

Each node has a folder of its own as its working directory, and the run folder is given by a relative path. The run is
stopped by a signal on the second node, goes on, and is compared with one process.
"""

import argparse
import socket
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from processes import STEPS, TOLERANCE, prepare

from support.launched import Ended, Trouble, launch, start, steps_of


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def both(folder: Path, leg: int, *arguments: str, trouble: Trouble | None = None) -> list[Ended]:
    """Starts a launcher in each node's folder and waits for both."""
    port = free_port()
    common = ("--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", str(port))
    running = [
        start(
            *arguments,
            cwd=folder / f"node{node}",
            count=1,
            record=folder / "record" / str(leg),
            trouble=trouble,
            nodes=(*common, "--node-rank", str(node)),
        )
        for node in range(2)
    ]
    return [launched.end() for launched in running]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder)
        for name in ("record", "record/0", "record/1", "alone", "alone/0", "node0", "node1"):
            (folder / name).mkdir()
        rest = ("--workers", "0", "--device", "cpu")
        begin = ("train", "--config", str(folder / "plain.json"), "--out", "run", *rest)
        alone = launch(*begin, cwd=folder, count=1, record=folder / "alone" / "0")
        assert alone.code == 0, alone.stderr
        stopped = both(folder, 0, *begin, trouble=Trouble(stop_at=STEPS // 2, rank=1))
        assert "Stopped   saved" in stopped[0].stdout, stopped
        resumed = both(folder, 1, "train", "--resume", "run", *rest)
        assert [ended.code for ended in resumed] == [0, 0], resumed
        assert "Report" in resumed[0].stdout, resumed[0]
        assert resumed[1].stdout == "", resumed[1]
        assert not any((folder / "node1").glob("run*")), "the second node has a run folder"
        one, two = steps_of(folder / "alone"), steps_of(folder / "record")
        assert one.keys() == two.keys() == set(range(STEPS))
        assert all(one[step][0] == two[step][0] for step in one), "samples differ"
        worst = max(abs(two[step][1] / one[step][1] - 1) for step in one)
        assert worst <= TOLERANCE, worst
        print(f"two nodes, stopped and resumed: equal samples in {STEPS} steps, losses within {worst:.1e}")


if __name__ == "__main__":
    main()
