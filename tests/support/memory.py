"""What a piece of work costs this process: the highest rise of its memory, and processor time. Linux alone tells."""

import ctypes
import gc
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROCESS = Path("/proc/self")
_RESET_PEAK = "5"


@dataclass(frozen=True)
class Cost:
    """What work took: resident memory beyond what the process held before, at its peak, and processor time."""

    bytes: int
    seconds: float


def is_measurable() -> bool:
    """Tells whether the system resets the peak of this process's memory when it is asked to."""
    try:
        (_PROCESS / "clear_refs").write_text(_RESET_PEAK)
        return _status("VmHWM") - _status("VmRSS") < 2**20
    except (OSError, KeyError):
        return False


def cost_of(work: Callable[[], object]) -> Cost:
    """Does some work, and returns what it cost."""
    gc.collect()
    # Memory that was freed and kept would hide that as much of it is taken again.
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    (_PROCESS / "clear_refs").write_text(_RESET_PEAK)
    before, began = _status("VmRSS"), time.process_time()
    work()
    seconds = time.process_time() - began
    return Cost(_status("VmHWM") - before, seconds)


def _status(name: str) -> int:
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB$", (_PROCESS / "status").read_text(), re.MULTILINE))
    return int(found[name]) * 1024
