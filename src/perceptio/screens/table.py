"""The table of epochs and the live line below it, as text; who draws it decides where it stands."""

from perceptio.runs.lines import clock, main_metric_of
from perceptio.training.job import EvaluationReport, StepReport

BAR_CELLS = 14
BLOCKS, ASCII = ("━", "─"), ("#", ".")
Cells = tuple[str, str]


class EpochTable:
    """Rows of evaluations, each with the time since the one before it."""

    def __init__(self) -> None:
        self.has_head = False
        self._seconds: float | None = None

    def rows(self, report: EvaluationReport) -> list[str]:
        """Returns the row of an evaluation, before the first one also the head."""
        row, metric = report.row, main_metric_of(report.row)
        lines = []
        if not self.has_head:
            self.has_head = True
            name = metric.removeprefix("validation_").replace("map", "mAP")
            lines += ["", f"{'epoch':>5}{'train loss':>12}{'val loss':>10}{'val ' + name:>14}{'time':>9}{'left':>9}"]
        trained = "-" if row["train_loss"] is None else f"{row['train_loss']:.3f}"
        lines.append(
            f"{row['epoch']:>5g}{trained:>12}{row['validation_loss']:>10.3f}{100 * row[metric]:>12.1f} %"
            f"{clock(row['seconds'] - (self._seconds or 0.0)):>9}{clock(report.seconds_left):>9}"
            f"{'  best' if report.is_best else ''}"
        )
        if row["num_lost"]:
            lines[-1] += f"  {row['num_lost']} lost"
        self._seconds = row["seconds"]
        return lines

    def live(self, report: StepReport, cells: Cells) -> str:
        """Returns the running epoch: its loss, how far it is, and what is left of the whole run."""
        if self._seconds is None:  # of a run that goes on, only its new epochs are timed
            self._seconds = 0.0 if report.step == 1 else report.seconds
        epoch, step = divmod(report.step - 1, report.steps_per_epoch)
        done = (step + 1) / report.steps_per_epoch
        return (
            f"{epoch + 1:>5}{report.loss:>12.3f}  {bar(done, cells)}  {step + 1}/{report.steps_per_epoch} batches, "
            f"{report.samples_per_second:,.0f} samples/s  left {clock(report.seconds_left)}"
        )


def bar(share: float, cells: Cells) -> str:
    """Returns a bar that is filled up to a share in [0, 1]."""
    filled = min(BAR_CELLS, round(share * BAR_CELLS))
    return cells[0] * filled + cells[1] * (BAR_CELLS - filled)


def work_line(what: str, done: int, total: int, cells: Cells) -> str:
    """Returns how far a piece of work is."""
    return f"{what}  {bar(done / max(1, total), cells)}  {done:,} of {total:,}"
