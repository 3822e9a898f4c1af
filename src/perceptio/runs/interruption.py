"""Ctrl-C and SIGTERM: the first asks the run to save and stop, the second ends it at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether a stop was asked for.

    Attributes:
        number: the signal that asked, or None.
        is_answered: whether it was said that the stop is on its way.
    """

    number: int | None = None
    is_answered: bool = False

    def __call__(self) -> bool:
        """Returns whether a stop was asked for."""
        return self.number is not None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Yields what knows whether a stop was asked for. Outside the main thread signals stay as they are."""
    request = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        if request():
            raise KeyboardInterrupt(number)
        request.number = number

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
