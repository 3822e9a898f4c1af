import os
import signal
import threading

import pytest
import torch

from perceptio.errors import UsageError
from perceptio.runs import interruption
from perceptio.runs.interruption import end_on_signals, stop_on_signals
from perceptio.runs.machine import (
    choose_device,
    connect,
    describe_machine,
    git_revision,
    make_accelerator,
    package_versions,
    set_threads,
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_the_second_ends(number: signal.Signals, monkeypatch: pytest.MonkeyPatch):
    before = signal.getsignal(number)
    with stop_on_signals() as should_stop:
        assert not should_stop()
        os.kill(os.getpid(), number)
        assert should_stop()
        assert should_stop.number == number
        for echo in (number, signal.SIGTERM, signal.SIGINT):  # as a launcher passes on what the whole group got
            signal.raise_signal(echo)
        assert should_stop.number == number
        monkeypatch.setattr(interruption, "ECHO_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt) as ended:
            signal.raise_signal(number)
        assert ended.value.args == (number,)
    assert signal.getsignal(number) is before


def test_sigterm_can_end_as_ctrl_c_does():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as ended, end_on_signals():
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.args == (signal.SIGTERM,)
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_signals_stay_as_they_are():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with stop_on_signals() as should_stop:
            seen.append((should_stop(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_one_process_may_change_its_precision():
    assert make_accelerator("cpu", "bf16").mixed_precision == "bf16"
    assert make_accelerator("cpu", "auto").mixed_precision == "no"
    assert make_accelerator("cpu", "fp32").mixed_precision == "no"


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"--device cuda, but PyTorch finds no GPU here. Use --device cpu, or"):
        make_accelerator("cuda", "auto")
    with pytest.raises(UsageError, match=r"--device cuda, but PyTorch finds no GPU here. Use --device cpu, or"):
        choose_device("cuda")
    assert choose_device("auto") == torch.device("cpu")


def test_choosing_a_device_leaves_a_training_in_this_process_alone():
    accelerator = make_accelerator("cpu", "bf16")
    assert choose_device("cpu") == torch.device("cpu")
    assert accelerator.mixed_precision == "bf16"


def test_threads_are_as_asked_else_as_recorded_where_there_are_as_many_cores():
    before = torch.get_num_threads()
    try:
        for asked, recorded, expected in ((3, 1, 3), (None, 1, 1), (2, None, 2), (None, 10**6, 2), (None, None, 2)):
            set_threads(asked, recorded)
            assert torch.get_num_threads() == expected
        with pytest.raises(UsageError, match=r"--threads must be at least 1, got 0"):
            set_threads(0)
    finally:
        torch.set_num_threads(before)


def test_machine_and_versions_are_recorded():
    assert package_versions()["torch"] == torch.__version__
    packages = {"torch", "numpy", "numba", "pillow", "av", "trimesh", "accelerate"}
    assert package_versions().keys() == {"perceptio", "python", *packages}
    assert "CPU cores" in describe_machine(torch.device("cpu"))
    assert git_revision() is None or len(git_revision()) >= 7


@pytest.mark.parametrize("minutes", [0.0, -1.5, float("nan")])
def test_processes_wait_for_some_time(minutes: float):
    with pytest.raises(UsageError, match=rf"^--timeout-minutes must be greater than 0, got {minutes:g}$"):
        connect("cpu", timeout_minutes=minutes)
