"""TensorBoard events beside metrics.jsonl."""

from pathlib import Path

from perceptio.errors import MissingExtraError
from perceptio.training.job import EvaluationReport, Event, Report


def with_tensorboard(report: Report, folder: Path, *, first_step: int) -> Report:
    """Returns a report that also writes each evaluation's numbers as TensorBoard events.

    Raises:
        MissingExtraError: when tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except (ImportError, RuntimeError, OSError) as error:
        raise MissingExtraError("--tensorboard", "tensorboard") from error
    # What an interrupted run wrote past its checkpoint is hidden: it will come again.
    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)

    def both(event: Event) -> None:
        if isinstance(event, EvaluationReport):
            for name, value in event.row.items():
                if isinstance(value, int | float):
                    writer.add_scalar(name, value, event.row["step"])
            writer.flush()
        report(event)

    return both
