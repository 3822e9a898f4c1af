import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from perceptio.data.batches import Batch, collate
from perceptio.data.children import Allowance
from perceptio.data.dataset import EvaluationSamples, Sample, TrainingSamples
from perceptio.data.limits import Limits
from perceptio.data.order import SampleKey
from perceptio.data.records import FileSource, Record, Skipped
from perceptio.errors import DataError, PerceptioError, UsageError
from perceptio.modalities.streams import StreamReader, single_stream
from perceptio.runs.budget import (
    Deadline,
    evaluation_seconds,
    fit_to_time,
    new_schedule,
    planned_seconds,
    rough_time,
    stretched,
)
from perceptio.runs.check import Check, EvaluationCheck, _largest, check_batches, refuse_equal_samples
from perceptio.runs.config import RunConfig
from perceptio.runs.data import PreparedData, Survey, prepare_data, survey_data
from perceptio.runs.folder import RunFolder
from perceptio.runs.machine import make_accelerator
from perceptio.runs.memory import with_room
from perceptio.runs.opening import Reason, reasons_that_hold, show_check
from perceptio.runs.resume import _deadline
from perceptio.runs.screen import SilentScreen
from perceptio.runs.workbench import TrainOptions, Workbench, build_workbench
from perceptio.training.checkpoint import Checkpoint, LoopState
from perceptio.training.job import EvaluationReport, Event, StepReport
from perceptio.training.processes import Processes
from perceptio.training.schedule import ScheduleConfig
from support.configs import TINY_PICTURES, tiny_config
from support.harmful import HarmfulReader
from support.pictures import make_picture_folder


class Facts(SilentScreen):
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def fact(self, label: str, text: str) -> None:
        self.told.append((label, text))


CHECK = Check(
    batch_size=8, step_seconds=2.0, load_seconds=3.0, evaluation=EvaluationCheck(seconds=1.0, num_samples=3),
    peak_memory_bytes=10**9,
)  # fmt: skip


def prepared_of(config: RunConfig) -> PreparedData:
    return prepare_data(survey_data(config.data, config.source, streams=config.streams), config)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """27 training, 9 validation and 9 test pictures; 3 steps an epoch."""
    folder = tmp_path_factory.mktemp("bench")
    config = tiny_config(make_picture_folder(folder / "pictures", per_class=15))
    options = TrainOptions(device="cpu", workers=0)
    accelerator = make_accelerator("cpu", "fp32")
    return build_workbench(config, prepared_of(config), accelerator, Processes(), RunFolder(folder), options)


def test_a_check_runs_both_kinds_of_batches_and_changes_nothing(bench: Workbench):
    weights = {name: value.clone() for name, value in bench.model.state_dict().items()}
    drawn = torch.random.get_rng_state()
    check = check_batches(bench)
    assert (check.batch_size, check.evaluation.num_samples) == (8, 8)
    assert min(check.step_seconds, check.load_seconds, check.evaluation.seconds) > 0
    assert check.peak_memory_bytes > 10**7
    assert torch.equal(drawn, torch.random.get_rng_state())
    for name, value in bench.model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert all(parameter.grad is None for parameter in bench.model.parameters())
    assert bench.model.training


def test_what_is_done_once_before_the_first_batch_is_not_planned_for_each(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
):
    """Starting the process that reads files first and opening a file with all samples were part of every step."""
    read, opened = TrainingSamples.__getitem__, []
    monkeypatch.setattr("perceptio.runs.check.make_safe", lambda *arguments: time.sleep(0.5))

    def slow_at_first(samples: TrainingSamples, key: SampleKey) -> Sample:
        if not opened:
            time.sleep(0.5)
        opened.append(key)
        return read(samples, key)

    monkeypatch.setattr(TrainingSamples, "__getitem__", slow_at_first)
    check = check_batches(bench)
    assert len(opened) >= 8
    assert 0 < check.load_seconds < 0.4


def test_a_first_batch_without_a_file_that_can_be_read_is_named(bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    lost = collate([Sample(0, (), (Skipped("disc/00.png", "no such file"),))])
    monkeypatch.setattr("perceptio.runs.check._first_batch", lambda bench, parts: (lost, 0.0))
    with pytest.raises(DataError, match=r"^no file of the first batch can be read; disc/00.png: no such file$"):
        check_batches(bench)


def test_where_a_gpu_has_no_room_fewer_samples_are_checked_at_once(bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    sizes = []

    def short_of_memory(bench: Workbench, batch: Batch, targets: torch.Tensor) -> float:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        return 1.0

    monkeypatch.setattr("perceptio.runs.check._time_step", short_of_memory)
    check = check_batches(bench)
    assert sizes == [8, 4, 2, 2]
    assert (check.batch_size, check.micro_batch_size, check.step_seconds) == (8, 2, 4.0)
    roomy = with_room(bench, check.micro_batch_size)
    assert (roomy.num_micro_batches, with_room(roomy, None).num_micro_batches, bench.num_micro_batches) == (4, 4, 1)
    assert check_batches(roomy).micro_batch_size is None
    screen = Facts()
    show_check(roomy, check, screen, picture="")
    assert screen.told[-1] == (
        "Memory", "no more than 2 samples fit at once (--training.num-micro-batches 4); the result is the same"
    )  # fmt: skip


def test_a_sample_for_which_no_gpu_has_room_ends_the_run(bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    def short_of_memory(bench: Workbench, batch: Batch, targets: torch.Tensor) -> float:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("perceptio.runs.check._time_step", short_of_memory)
    with pytest.raises(PerceptioError, match=r"^memory does not suffice for a single sample, at step 1\. Recompute "):
        check_batches(bench)


def test_where_sizes_differ_the_largest_batch_is_checked():
    streams = single_stream(replace(TINY_PICTURES, geometry="fit", crop_area=(0.08, 1.0), evaluation_crop=224 / 256))
    small = np.ones((3, 7, 3), np.uint8)
    grown = _largest(collate([Sample(0, ({"image": small},)), Sample(1, ({"image": small},))]), streams.input_config())
    assert grown.streams["image"].values.shape == (2, 16, 16, 3)
    assert grown.streams["image"].extents is not None
    assert grown.streams["image"].extents.tolist() == [[3, 7], [3, 7]]
    whole = collate([Sample(0, ({"image": np.ones((16, 16, 3), np.uint8)},))])
    assert _largest(whole, streams.input_config()).streams["image"].extents is None


def test_samples_that_are_all_the_same_are_refused(tmp_path: Path):
    for number in range(8):
        path = tmp_path / "night" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((16 + number, 16, 3), np.uint8)).save(path)  # no copies of each other as files
    config = tiny_config(tmp_path / "night")
    prepared = prepared_of(config)
    samples = EvaluationSamples(
        prepared.survey.source, prepared.records("train"), StreamReader(config.streams, Limits())
    )
    with pytest.raises(DataError) as error:
        refuse_equal_samples(prepared, samples, Allowance())
    first = prepared.records("train")[0].name
    assert str(error.value) == (
        f"4 training samples of {tmp_path / 'night'}, taken evenly from all, look exactly the same to the model, and "
        f"each is 0 everywhere: there is nothing to tell the classes apart by. Look at {first}; if the file itself is "
        "fine, the input's options (perceptio train -H) leave nothing of it"
    )
    one = prepared.records("train")[-1]
    Image.fromarray(np.full((16, 16, 3), 9, np.uint8)).save(tmp_path / "night" / one.name)
    refuse_equal_samples(prepared, samples, Allowance())


def test_where_only_headers_were_read_a_harmful_file_is_tried_elsewhere_first(tmp_path: Path):
    names = [f"{number}.png" for number in range(7)] + ["segfault.7.png"]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(bytes([number] * 12))
    records = tuple(Record(name=name, labels=("a",)) for name in names)
    source = FileSource(records=records, classes=("a", "b"), multi_label=False, notes=(), root=tmp_path)
    survey = Survey(
        source=source, data="d", usable=records, skipped=(), streams=single_stream(TINY_PICTURES), facts={}, copies=(),
        whole=False,
    )  # fmt: skip
    samples = EvaluationSamples(source, records, HarmfulReader())
    prepared = PreparedData(survey=survey, splits=dict.fromkeys(names, "train"), leaks=())
    refuse_equal_samples(prepared, samples, Allowance(seconds=1))
    assert samples.quarantine == {"segfault.7.png": "kills its decoder (SIGSEGV)"}


def test_loaders_work_while_the_model_does():
    assert [CHECK.seconds_a_step(workers) for workers in (0, 1, 2)] == [5.0, 3.0, 2.0]


ENDING = 17.0 + 3.0 + 3.0
"""Seconds of the report, and of measuring validation and test samples once more."""


def test_the_plan_counts_steps_evaluations_and_the_ending(bench: Workbench):
    assert evaluation_seconds(bench, CHECK.evaluation, "validation") == 3.0
    assert planned_seconds(bench, CHECK) == pytest.approx(3 * (3 * 5.0 + 3.0) + ENDING)
    rarely = replace(bench.config, training=replace(bench.config.training, evaluate_every_epochs=3.0))
    assert planned_seconds(replace(bench, config=rarely), CHECK) == pytest.approx(3 * (3 * 5.0 + 1.0) + ENDING)


@pytest.mark.parametrize(("seconds", "epochs"), [(3_600, 168.0), (200, 8.0), (60, 1.75), (30, 0.2)])
def test_as_many_epochs_as_fit_are_planned(bench: Workbench, seconds: float, epochs: float):
    config = fit_to_time(bench, CHECK, seconds)
    assert config.epochs == epochs
    assert planned_seconds(replace(bench, config=config), CHECK) <= seconds


def test_a_time_that_is_too_short_is_refused(bench: Workbench):
    with pytest.raises(UsageError) as error:
        fit_to_time(bench, CHECK, 12.0)
    assert str(error.value) == (
        "--time is too short: 12 s are left after reading the files, an epoch takes 15 s, its evaluation 3 s and "
        "what comes after training 23 s. Give it more (a number alone is seconds, 2m are two minutes), or take a "
        "smaller model or input"
    )


def test_what_counts_in_epochs_keeps_its_share_of_the_run():
    config = tiny_config(epochs=10.0)
    schedule = ScheduleConfig(kind="steps", warmup_epochs=1.0, decay_epochs=(5.0, 8.0))
    config = replace(config, training=replace(config.training, schedule=schedule, patience_epochs=4.0))
    longer = stretched(config, 20.0)
    assert longer.epochs == 20.0
    assert longer.training.patience_epochs == 8.0
    assert longer.training.schedule == replace(schedule, warmup_epochs=2.0, decay_epochs=(10.0, 16.0))
    assert stretched(tiny_config(epochs=10.0), 5.0).training == tiny_config().training


def test_a_longer_run_says_what_its_schedule_then_does():
    before, after = tiny_config(epochs=10.0), tiny_config(epochs=20.0)
    assert new_schedule(before, before, 30, 3) == ()
    assert new_schedule(before, after, 30, 3) == (
        "cosine over 20 epochs instead of 10: at epoch 10 the learning rate is 0.0015, it was 0",
    )
    patient = replace(before, training=replace(before.training, patience_epochs=4.0))
    assert new_schedule(patient, after, 30, 3)[1] == "patience is off: epochs that were asked for are run"


def test_a_deadline_waits_for_weights_worth_keeping():
    never, over = Deadline(None), Deadline(0.0)
    told = []
    report = over.watching(told.append)
    assert [never.is_over, over.is_over, over.or_asked(lambda: True)()] == [False, False, True]
    event = EvaluationReport(row={}, is_best=True, num_steps=1, steps_per_epoch=1, seconds_left=0.0)
    report(event)
    assert told == [event]
    assert [over.is_over, over.or_asked(lambda: False)(), Deadline(60.0).is_over] == [True, True, False]


def resumed_deadline(bench: Workbench, seconds: float, screen: Facts) -> Deadline:
    state = LoopState(step=3, best_step=3)
    checkpoint = Checkpoint(path=Path(), model={}, optimizer={}, average=None, state=state, facts={})
    options = TrainOptions(device="cpu", workers=0, time=seconds)
    return _deadline(bench, options, checkpoint, screen, began=time.monotonic())


def test_a_run_that_goes_on_keeps_time_for_its_end(bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("perceptio.runs.resume.check_evaluation", lambda bench: CHECK.evaluation)
    screen = Facts()
    deadline = resumed_deadline(bench, 100.0, screen)
    assert deadline.at == pytest.approx(time.monotonic() + 100.0 - ENDING, abs=1.0)
    assert deadline.has_evaluated
    assert screen.told == [
        (
            "Time",
            "stops after 1:40, of which the end takes about 0:23; the schedule stays, and --resume goes on with it",
        )
    ]
    message = (
        r"^--time is too short: 12 s are left after reading the files, and what comes after training takes 23 s\. Give "
        r"it more \(a number alone is seconds, 2m are two minutes\)$"
    )
    with pytest.raises(UsageError, match=message):
        resumed_deadline(bench, 12.0, screen)


def test_options_that_cannot_be():
    with pytest.raises(UsageError, match=r"--time must be greater than 0, such as 90s, 30m or 2h: got -1"):
        TrainOptions(time=-1.0)
    with pytest.raises(UsageError, match=r"--workers must be at least 0: got -2"):
        TrainOptions(workers=-2)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5, "less than a minute"),
        (60, "about a minute"),
        (480, "about 8 min"),
        (5_000, "about 83 min"),
        (11_000, "about 3 h"),
    ],
)
def test_a_time_is_rough(seconds: float, text: str):
    assert rough_time(seconds) == text


def test_a_reason_goes_with_the_field_that_it_is_for():
    reasons = (Reason("Schedule", "so many epochs", ("epochs",)), Reason("Model", "so small", ("model",)))
    config = tiny_config()
    assert reasons_that_hold(reasons, config, config) == reasons
    assert reasons_that_hold(reasons, config, stretched(config, 1.0)) == reasons[1:]


def test_no_more_time_is_left_than_until_the_deadline():
    seen: list[Event] = []
    report = StepReport(
        step=1, num_steps=9, steps_per_epoch=3, loss=1.0, samples_per_second=1.0, seconds=1.0, seconds_left=300.0
    )
    Deadline(60.0).watching(seen.append)(report)
    Deadline(600.0).watching(seen.append)(report)
    Deadline(None).watching(seen.append)(report)
    Deadline(-5.0).watching(seen.append)(report)
    left = [event.seconds_left for event in seen if isinstance(event, StepReport)]
    assert 50 < left[0] <= 60
    assert left[1:] == [300.0, 300.0, 0.0]


def test_patience_is_stretched_to_whole_epochs(bench: Workbench):
    patient = replace(bench.config, epochs=30.0, training=replace(bench.config.training, patience_epochs=10.0))
    assert stretched(patient, 34.0).training.patience_epochs == 12.0  # 11.3
    assert stretched(patient, 1.5).training.patience_epochs == 0.5, "no whole epoch is trained"
