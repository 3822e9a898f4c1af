"""`python -m support.warm`: starts runs of the command line from one process that has imported all and done nothing.

Importing takes longer than a tiny run, so a campaign of many runs would mostly import. Each line of JSON on standard
input (`Part`) becomes a new process, in a session of its own; when it has ended, a line on standard output says how.
"""

import importlib
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Part:
    """A process of a run.

    Attributes:
        arguments: of the command line.
        aim: fields of `support.aimed.Aim`; None: it is left alone.
        notes, losses: what was hit, and the loss of each step; lines are added.
        log: for all that it prints; added to.
        without: one of `support.controls.BREAKS`.
    """

    arguments: list[str]
    notes: str
    losses: str
    log: str
    aim: dict[str, Any] | None = None
    without: str | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How it ended: as `os.waitstatus_to_exitcode` says. Its session and group bear its `pid`."""

    pid: int
    code: int


@dataclass
class Warm:
    """The process that starts them."""

    environment: dict[str, str]
    process: "Popen[str]" = field(init=False)

    def __post_init__(self) -> None:
        command = [sys.executable, "-m", "support.warm"]
        self.process = Popen(command, stdin=PIPE, stdout=PIPE, text=True, env={**os.environ, **self.environment})

    def run(self, part: Part) -> Ended:
        """Runs a part to its end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asdict(part)) + "\n")
        self.process.stdin.flush()
        return Ended(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """Ends it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def serve() -> int:
    """Starts one part after the other."""
    # What a part would import; not at the head of this file, which loader workers import, too.
    for module in ("perceptio.cli.train", "perceptio.recipes.automatic", "perceptio.runs.resume", "support.aimed"):
        importlib.import_module(module)

    while line := sys.stdin.readline():
        part = Part(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            return _run(part)
        _, status = os.waitpid(pid, 0)
        ended = Ended(pid=pid, code=os.waitstatus_to_exitcode(status))
        sys.stdout.write(json.dumps(asdict(ended)) + "\n")
        sys.stdout.flush()
    return 0


def _run(part: Part) -> int:
    from perceptio.cli.main import main
    from support.aimed import Aim, Moments, aim
    from support.controls import BREAKS

    os.setsid()
    log = os.open(part.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    if part.without is not None:
        BREAKS[part.without](setattr)
    aim(Moments(None if part.aim is None else Aim(**part.aim), Path(part.notes)), Path(part.losses))
    return main(part.arguments)


if __name__ == "__main__":
    sys.exit(serve())
