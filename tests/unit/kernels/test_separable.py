import multiprocessing
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import library
from torch.testing import assert_close

from perceptio.kernels.separable import backends, numba_backend
from perceptio.kernels.separable.backends import load_backend, usable_backends
from perceptio.kernels.separable.contract import Queries, Tokens
from perceptio.kernels.separable.operation import separable_attend
from support.separable import attend_densely, draw_case, leaves, weighted_sum

BACKENDS = ("torch", "numba")


def assert_equal_to_dense(queries: Queries, tokens: Tokens, backend: Any, *, tolerance: float = 1e-10) -> None:
    expected, found = attend_densely(queries, tokens), separable_attend(queries, tokens, backend)
    for name in ("channels", "outer", "inner", "lse"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert_close(ours, theirs, rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")
    wanted = leaves(queries, tokens)
    theirs = torch.autograd.grad(weighted_sum(expected), wanted)
    ours = torch.autograd.grad(weighted_sum(found), wanted)
    names = ("query channels", "query outer", "query inner", "token channels", "rho")
    for name, mine, other in zip(names, ours, theirs, strict=True):
        size = max(1.0, other.abs().max().item())
        assert_close(mine / size, other / size, rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    shared=st.booleans(),
    rows=st.integers(1, 19),
    channels=st.integers(1, 7),
    outer=st.integers(1, 9),
    inner=st.integers(1, 40),
    masked=st.booleans(),
    score_size=st.sampled_from([1.0, 100.0]),
    channel_size=st.sampled_from([1.0, 1000.0]),
)
def test_equals_the_whole_map_in_outputs_and_gradients(backend: str, **sizes: Any) -> None:
    # A score of size s carries an error of s times the rounding, and so does its exponential.
    assert_equal_to_dense(*draw_case(**sizes), backend, tolerance=1e-10 * sizes["score_size"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_outer_places_are_summed_in_parts(backend: str) -> None:
    assert_equal_to_dense(*draw_case(outer=200, inner=3, rows=9, masked=True), backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_float32_is_as_exact_as_the_whole_map_in_float32(backend: Any, channels: int) -> None:
    queries, tokens = draw_case(rows=11, channels=channels, outer=30, inner=33, dtype=torch.float32, masked=True)
    exact = attend_densely(
        *(
            type(part)(
                *(None if v is None else v.double() if v.is_floating_point() else v for v in vars(part).values())
            )
            for part in (queries, tokens)
        )
    )
    plain, found = attend_densely(queries, tokens), separable_attend(queries, tokens, backend)
    for name in ("channels", "outer", "inner"):
        allowed = (
            2 * (getattr(plain, name) - getattr(exact, name)).abs().max() + 1e-6 * getattr(exact, name).abs().max()
        )
        assert (getattr(found, name) - getattr(exact, name)).abs().max() <= allowed, name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck(backend: Any, masked: bool) -> None:
    queries, tokens = draw_case(rows=3, channels=2, outer=2, inner=3, masked=masked)

    def attend(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        reads = separable_attend(Queries(*tensors[:3]), Tokens(*tensors[3:], tokens.present), backend)
        return reads.channels, reads.outer, reads.inner, torch.where(reads.lse == -torch.inf, 0.0, reads.lse)

    assert torch.autograd.gradcheck(attend, leaves(queries, tokens))


def test_scores_that_rise_far_above_the_first_tiles_do_not_overflow() -> None:
    """The shift is raised again and again: each outer place stands 200 above the one before."""
    queries, tokens = draw_case(outer=8, inner=16, rows=10, dtype=torch.float32)
    with torch.no_grad():
        queries.outer.add_(200 * torch.arange(8))
        tokens.rho.fill_(1.0)
    for backend in BACKENDS:
        found, expected = separable_attend(queries, tokens, backend), attend_densely(queries, tokens)
        assert_close(found.inner, expected.inner, rtol=1e-3, atol=1e-5)
        assert_close(found.outer, expected.outer, rtol=1e-3, atol=1e-5)
        assert_close(found.lse, expected.lse, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_absent_tokens_have_no_influence_whatever_they_hold(backend: Any) -> None:
    queries, tokens = draw_case(masked=True, dtype=torch.float32)
    before = separable_attend(queries, tokens, backend)
    absent = ~tokens.present
    spoilt = Tokens(
        tokens.channels.masked_fill(absent[:, None], torch.nan),
        tokens.rho.masked_fill(absent, torch.inf),
        tokens.present,
    )
    after = separable_attend(queries, spoilt, backend)
    for name in ("channels", "outer", "inner", "lse"):
        assert torch.equal(getattr(before, name), getattr(after, name)), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_where_nothing_is_present_reads_are_zero_and_gradients_finite(backend: Any) -> None:
    queries, tokens = draw_case(masked=True, dtype=torch.float32)
    reads = separable_attend(queries, tokens, backend)
    assert (reads.lse[-1] == -torch.inf).all()
    assert not torch.cat([reads.channels[-1], reads.outer[-1], reads.inner[-1]], dim=1).any()
    for gradient in torch.autograd.grad(weighted_sum(reads), leaves(queries, tokens)):
        assert gradient.isfinite().all()
        assert len(gradient) == 1 or not gradient[-1].any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("place", ["queries", "tokens"])
def test_a_value_that_is_no_number_is_not_hidden(backend: Any, place: str) -> None:
    queries, tokens = draw_case(dtype=torch.float32, inner=32)
    with torch.no_grad():
        (queries.inner if place == "queries" else tokens.channels)[0, 0, 0] = torch.nan
    reads = separable_attend(queries, tokens, backend)
    assert reads.inner[0, 0].isnan().any()
    assert reads.inner[1].isfinite().all()


def test_any_number_of_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_backend, "MIN_ELEMENTS_FOR_THREADS", 0)
    queries, tokens = draw_case(rows=37, outer=11, inner=24, dtype=torch.float32, masked=True)

    def run(num_threads: int) -> list[torch.Tensor]:
        torch.set_num_threads(num_threads)
        try:
            reads = separable_attend(queries, tokens, "numba")
            return [*vars(reads).values(), *torch.autograd.grad(weighted_sum(reads), leaves(queries, tokens))]
        finally:
            torch.set_num_threads(1)

    alone = run(1)
    for num_threads in (2, 3, 5):
        for ours, theirs in zip(run(num_threads), alone, strict=True):
            assert torch.equal(ours, theirs)


def _attend_in_child(queue: Any) -> None:
    torch.manual_seed(3)
    queries, tokens = draw_case(rows=37, outer=11, inner=24, dtype=torch.float32)
    queue.put(separable_attend(queries, tokens, "numba").inner.detach().numpy())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_works_in_a_process_forked_after_its_threads_have_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_backend, "MIN_ELEMENTS_FOR_THREADS", 0)
    torch.manual_seed(3)
    queries, tokens = draw_case(rows=37, outer=11, inner=24, dtype=torch.float32)
    torch.set_num_threads(2)
    try:
        expected = separable_attend(queries, tokens, "numba").inner.detach().numpy()
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        child = context.Process(target=_attend_in_child, args=(queue,))
        child.start()
        found = queue.get(timeout=60)
        child.join(timeout=60)
    finally:
        torch.set_num_threads(1)
    assert child.exitcode == 0
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_pytorchs_own_checks_of_a_registered_operation(shared: bool, masked: bool) -> None:
    queries, tokens = draw_case(shared=shared, masked=masked)
    arguments = (*leaves(queries, tokens), tokens.present, "torch")
    library.opcheck(torch.ops.perceptio.separable_attend.default, arguments)


@pytest.mark.parametrize("backend", BACKENDS)
def test_under_autocast_it_computes_in_float32(backend: Any) -> None:
    queries, tokens = draw_case(dtype=torch.float32)
    expected = separable_attend(queries, tokens, backend)
    gradients = torch.autograd.grad(weighted_sum(expected), leaves(queries, tokens))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = separable_attend(queries, tokens, backend)
        inside = torch.autograd.grad(weighted_sum(found), leaves(queries, tokens))
    assert torch.equal(found.inner, expected.inner)
    for ours, theirs in zip(inside, gradients, strict=True):
        assert torch.equal(ours, theirs)


def test_the_exponential_is_exact_to_a_millionth() -> None:
    from numba import njit

    from perceptio.kernels.separable.numba_math import EXP2_CONSTANTS, exp2_float32, read_constants

    @njit
    def over(values: Any, found: Any, constants: Any) -> None:
        k = read_constants(constants)
        for i in range(len(values)):
            found[i] = exp2_float32(values[i], k)

    values = np.linspace(-125.9, 100.0, 400_001, dtype=np.float32)
    found = np.empty_like(values)
    over(values, found, np.array(EXP2_CONSTANTS, np.float32))
    assert np.abs(found / np.exp2(values.astype(np.float64)) - 1).max() < 1e-6


def test_what_does_not_fit_is_refused_with_its_shapes() -> None:
    queries, tokens = draw_case()
    shapes = [tuple(part.shape) for part in (queries.channels, queries.inner, queries.outer)]
    message = (
        f"queries of shapes {shapes} do not fit tokens of shape (2, 3, 4, 6): expected (B or 1, R, c), (B or 1, R, O), "
        "(B or 1, R, I) and (B, c, O, I)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        separable_attend(Queries(queries.channels, queries.inner, queries.outer), tokens, "torch")
    with pytest.raises(ValueError, match=r"^queries and tokens must have one type and device, got \[.*float32"):
        separable_attend(Queries(queries.channels.float(), queries.outer, queries.inner), tokens, "torch")
    object.__setattr__(tokens, "rho", tokens.rho[:1])  # past the shape check of the tests
    with pytest.raises(ValueError, match=r"rho and present must have shape \(2, 4, 6\)"):
        separable_attend(queries, tokens, "torch")
    half = draw_case(dtype=torch.bfloat16)
    with pytest.raises(
        ValueError, match=r"^the Numba backend takes float32 or float64 on the CPU, got torch\.bfloat16"
    ):
        load_backend("numba").attend(*half)


def test_backends_are_chosen_by_device_and_by_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(backends, "is_installed", lambda package: True)
    assert usable_backends("auto", cpu) == ("numba", "torch")
    assert usable_backends("auto", cuda) == ("triton", "torch")
    assert usable_backends("torch", cuda) == ("torch",)
    assert usable_backends("numba", cpu) == ("numba",)
    assert usable_backends("auto", torch.device("mps")) == ("torch",)
    for choice, device in (("numba", cuda), ("triton", cpu)):
        with pytest.raises(
            ValueError, match=f"^backend '{choice}' does not work with tensors on {device}. Take 'auto' or 'torch'"
        ):
            usable_backends(choice, device)


def test_a_missing_package_is_said_once_and_replaced_unless_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "is_installed", lambda package: False)
    backends._say_once.cache_clear()
    message = (
        "numba is not installed: separable attention runs in plain PyTorch, several times slower. "
        "Install it: pip install numba"
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$"):
        assert usable_backends("auto", torch.device("cpu")) == ("torch",)
    # The second time says nothing: a warning would be an error here.
    assert usable_backends("auto", torch.device("cpu")) == ("torch",)
    backends._say_once.cache_clear()
    with pytest.raises(ImportError, match=r"backend 'numba' needs the package numba\. Install it: pip install numba"):
        usable_backends("numba", torch.device("cpu"))


def test_importing_the_package_loads_neither_numba_nor_triton() -> None:
    code = (
        "import sys, perceptio, perceptio.models.perceiver; "
        "print(sorted({'numba', 'triton', 'llvmlite'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(("method", "backend"), [("separable", "torch"), ("separable", "numba"), ("auto", "auto")])
def test_a_model_compiles_as_one_graph_and_exports(method: str, backend: str) -> None:
    """In a process of its own: the hook that checks shapes while tests run is no part of what is compiled."""
    script = Path(__file__).parents[2] / "support" / "compile_model.py"
    found = subprocess.run([sys.executable, str(script), method, backend], capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "as eager", found.stderr
