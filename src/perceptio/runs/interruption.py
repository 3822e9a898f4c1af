"""Ctrl-C and SIGTERM: the first asks the run to save and stop, the second ends it at once.

A launcher such as torchrun passes on what it got. Where a terminal or a batch system signals the whole group, a process
so gets the same request twice.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ECHO_SECONDS = 1.0
"""Signals that come within so short a time are one request."""


class StopRequest:
    """Whether a stop was asked for.

    Attributes:
        number: the signal that asked, or None.
        asked_at: when it did, by the monotonic clock.
        is_answered: whether it was said that the stop is on its way.
    """

    number: int | None = None
    asked_at: float = 0.0
    is_answered: bool = False

    def __call__(self) -> bool:
        """Returns whether a stop was asked for."""
        return self.number is not None


@contextmanager
def end_on_signals() -> Iterator[None]:
    """Makes SIGTERM end what runs as Ctrl-C does, by KeyboardInterrupt with its number: there are last words then."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Yields what knows whether a stop was asked for. Outside the main thread signals stay as they are."""
    request = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        if request() and time.monotonic() - request.asked_at > ECHO_SECONDS:
            raise KeyboardInterrupt(number)
        if not request():
            request.number, request.asked_at = number, time.monotonic()

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
