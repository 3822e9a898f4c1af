"""Loader workers that die, hang or run out of memory: the batches are those of a run that knew the bad files."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from perceptio.data import lasting
from perceptio.data.batches import Batch
from perceptio.data.children import Allowance
from perceptio.data.dataset import EvaluationSamples, Samples, TrainingSamples
from perceptio.data.lasting import LastingBatches, Loss, harmful_files
from perceptio.data.order import TrainingOrder
from perceptio.data.records import FileSource, Record, Skipped, sort_records
from perceptio.errors import DataError
from support.harmful import HarmfulReader

ALLOWANCE = Allowance(seconds=1, memory_bytes=50 * 2**20)
SEGFAULT = "kills its decoder (SIGSEGV)"


def make_source(root: Path, *harmful: str) -> FileSource:
    """Seventeen files, some of which do harm when they are read."""
    names = [f"{number:02d}.png" for number in range(17)]
    for number, word in enumerate(harmful):
        names[3 + 5 * number] = f"{word}.{number}.png"
    for number, name in enumerate(names):
        (root / name).write_bytes(bytes([number] * 12))
    records = sort_records([Record(name=name, labels=("a",)) for name in names])
    return FileSource(records=records, classes=("a", "b"), multi_label=False, notes=(), root=root)


def training(source: FileSource, quarantine: dict[str, str] | None = None) -> TrainingSamples:
    samples = TrainingSamples(source, source.records, HarmfulReader(), seed=5)
    samples.quarantine.update(quarantine or {})
    return samples


def order(num_steps: int = 12) -> TrainingOrder:
    return TrainingOrder(seed=5, num_samples=17, batch_size=4, num_micro_batches=1, first_step=0, num_steps=num_steps)


def run(samples: Samples, batches: Iterable[list], *, num_workers: int, **options) -> tuple[list[Batch], list[Loss]]:
    losses: list[Loss] = []
    made = LastingBatches(
        samples, batches, num_workers=num_workers, allowance=ALLOWANCE, on_loss=losses.append, **options
    )
    return list(made), losses


def assert_same(found: list[Batch], expected: list[Batch]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.indices, other.indices)
        assert torch.equal(one.streams["image"].values, other.streams["image"].values)
        assert one.failures == other.failures


def test_files_that_kill_workers_cost_stand_ins_and_nothing_else(tmp_path: Path) -> None:
    source = make_source(tmp_path, "segfault", "segfault")
    bad = dict.fromkeys(("segfault.0.png", "segfault.1.png"), SEGFAULT)
    found, losses = run(training(source), order(), num_workers=2)
    expected, none = run(training(source, bad), order(), num_workers=0)
    assert_same(found, expected)
    assert none == []
    assert {skipped.name: skipped.reason for loss in losses for skipped in loss.quarantined} == bad
    assert {loss.reason for loss in losses} == {"one of them died"}
    failures = {failure for batch in found for failure in batch.failures}
    assert failures == {Skipped(name, reason) for name, reason in bad.items()}


@pytest.mark.parametrize(
    ("word", "loss", "reason"),
    [
        (
            "eat",
            "one of them ran out of memory",
            "needs more than 52,428,800 bytes (--source.limits.max-decode-bytes)",
        ),
        ("sleep", "one of them hung", "took more than 1 s (--source.limits.max-clip-seconds)"),
    ],
)
def test_a_worker_that_hangs_or_runs_out_of_memory_is_noticed(
    tmp_path: Path, word: str, loss: str, reason: str
) -> None:
    source = make_source(tmp_path, word)
    samples = training(source)
    found, losses = run(samples, order(5), num_workers=1, batch_seconds=20.0)
    assert [found.reason for found in losses] == [loss]
    assert samples.quarantine == {f"{word}.0.png": reason}
    assert_same(found, run(training(source, samples.quarantine), order(5), num_workers=0)[0])


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perceptio.data.children._PATIENCE", 1)
    monkeypatch.setattr("perceptio.data.children._LEAST_PATIENCE_SECONDS", 1)


def test_evaluation_lists_the_file_and_goes_on(tmp_path: Path) -> None:
    source = make_source(tmp_path, "abort")
    samples = EvaluationSamples(source, source.records, HarmfulReader())
    found, losses = run(samples, [[number] for number in range(17)], num_workers=1)
    shown = sorted(int(index) for batch in found for index in batch.indices)
    bad = next(index for index, record in enumerate(source.records) if record.name == "abort.0.png")
    assert shown == [index for index in range(17) if index != bad]
    assert [failure for batch in found for failure in batch.failures] == [
        Skipped("abort.0.png", "kills its decoder (SIGABRT)")
    ]
    assert len(losses) == 1


def test_workers_that_die_of_no_file_are_replaced_and_then_the_run_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasting, "MOST_LOSSES", 2)
    samples = training(make_source(tmp_path, "worker"))
    with pytest.raises(
        DataError,
        match=r"^the processes that read files were lost 2 times, the last time because one of them died; no file is "
        r"to blame. If memory is short, use fewer of them: --workers 1$",
    ):
        run(samples, order(), num_workers=1)
    assert samples.quarantine == {}


def test_stand_ins_that_do_harm_are_found_too(tmp_path: Path) -> None:
    source = make_source(tmp_path, "refuse", "segfault")
    samples = training(source)
    refused = next(index for index, record in enumerate(source.records) if record.name.startswith("refuse"))
    harmful = next(index for index, record in enumerate(source.records) if record.name.startswith("segfault"))
    epochs = [epoch for epoch in range(300) if list(samples.candidates((epoch, refused)))[1] == harmful]
    assert epochs, "no epoch in which the harmful file stands in for the refused one"
    assert harmful_files(samples, [(epochs[0], refused)], ALLOWANCE) == (Skipped("segfault.1.png", SEGFAULT),)
    assert harmful_files(training(source, {"segfault.1.png": "x"}), [(epochs[0], refused)], ALLOWANCE) == ()


def test_an_error_of_the_program_is_not_taken_for_a_lost_worker(tmp_path: Path) -> None:
    source = make_source(tmp_path, "bug")
    with pytest.raises(KeyError, match="a bug"):
        run(training(source), order(), num_workers=0)


def test_views_do_not_depend_on_who_makes_them(tmp_path: Path) -> None:
    source = make_source(tmp_path)
    (one,), (other,) = (training(source)[(2, 3)].views for _ in range(2))
    np.testing.assert_array_equal(one["image"], other["image"])


def test_a_file_to_blame_is_named_when_a_run_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "MOST_LOSSES", 1)
    samples = training(make_source(tmp_path, "segfault"))
    message = r"lost 1 times, the last time because one of them died; the last file to blame: segfault\.0\.png\. If"
    with pytest.raises(DataError, match=message):
        run(samples, order(), num_workers=1)
    assert samples.quarantine == {"segfault.0.png": SEGFAULT}


def test_the_order_asked_for_again_starts_where_the_worker_was_lost(tmp_path: Path) -> None:
    """Every batch comes once, in order, whichever of them held the file: first, last, or one in between."""
    source = make_source(tmp_path, "quit")
    bad = next(index for index, record in enumerate(source.records) if record.name == "quit.0.png")
    others = [index for index in range(17) if index != bad]
    for place in (0, 7, 16):
        batches = [[index] for index in [*others[:place], bad, *others[place:]]]
        found, losses = run(EvaluationSamples(source, source.records, HarmfulReader()), batches, num_workers=1)
        assert [[int(index) for index in batch.indices] for batch in found] == [
            batch if batch != [bad] else [] for batch in batches
        ]
        assert len(losses) == 1
