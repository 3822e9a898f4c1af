"""What a run tells while it works. The command line draws it; from Python nothing is shown unless asked for."""

from typing import Protocol, runtime_checkable

from perceptio.training.job import Event


@runtime_checkable
class Screen(Protocol):
    """Receives facts and progress."""

    def fact(self, label: str, text: str) -> None:
        """Shows one line about what was found or decided, under a label such as "Data"."""

    def work(self, what: str, done: int, total: int) -> None:
        """Shows how far a piece of work is."""

    def training(self, report: Event) -> None:
        """Shows progress of training."""


class SilentScreen:
    """Shows nothing."""

    def fact(self, label: str, text: str) -> None:
        """Ignores the fact."""

    def work(self, what: str, done: int, total: int) -> None:
        """Ignores the progress."""

    def training(self, report: Event) -> None:
        """Ignores the progress."""
