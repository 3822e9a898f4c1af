"""The Triton kernels against plain PyTorch: in Triton's interpreter, and on a GPU where there is one.

Triton decides between interpreter and compiler when a kernel is defined, once for a process. So this file, run as a
script, is the process that interprets; the tests compare what it has stored. The compiler accepts less than the
interpreter: as another script the file only compiles, for which no GPU is needed.
"""

import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from perceptio.kernels.separable.backends import is_installed
from perceptio.kernels.separable.contract import Backend, Queries, Reads, Tokens
from perceptio.kernels.separable.torch_backend import TorchBackend
from support.processes import python

GRADIENTS = ("query_channels", "query_outer", "query_inner", "token_channels", "token_rho")
EPS = torch.finfo(torch.float32).eps
Results = dict[str, Tensor]
needs_triton = pytest.mark.skipif(not is_installed("triton"), reason="triton is not installed")


@dataclass(frozen=True)
class Case:
    """One sample unless said otherwise, each with its own queries; in float64, so that a wrong term cannot hide.

    Attributes:
        share_present: of the tokens; None means no mask.
        empty_sample: nothing is present in the last sample.
        score_size, channel_size: standard deviations.
        score_shift: what all scores have in common, nearly.
        programs: wanted; one leaves the grid whole, many cut it into single blocks.
    """

    rows: int = 3
    channels: int = 3
    outer: int = 3
    inner: int = 5
    batch: int = 1
    shared: bool = False
    share_present: float | None = None
    empty_sample: bool = False
    score_size: float = 2.0
    score_shift: float = 0.0
    channel_size: float = 1.0
    programs: int = 1
    dtype: torch.dtype = torch.float64


CASES = {
    "one channel, one inner place": Case(channels=1, outer=5, inner=1, programs=4),
    "three channels, two blocks of rows, cut to pieces": Case(rows=5, programs=64),
    "four channels, two samples": Case(channels=4, outer=2, inner=3, batch=2, programs=8),
    "seven channels, inner axis of two blocks": Case(channels=7, outer=3, inner=4),
    "more channels than a program sums": Case(rows=2, channels=17, outer=2, inner=2),
    "shared queries": Case(batch=2, shared=True, inner=3),
    "mask, nothing present in the last of two samples": Case(
        batch=2, shared=True, inner=3, share_present=0.5, empty_sample=True, programs=8
    ),
    "large scores, mask": Case(score_size=100.0, share_present=0.7),
    "large channels": Case(channels=4, channel_size=1e3, inner=3),
    "float32": Case(channels=4, outer=4, inner=7, dtype=torch.float32),
    "float32, large scores": Case(outer=4, inner=7, score_size=100.0, dtype=torch.float32),
    "float32, scores far below zero": Case(score_shift=-400.0, dtype=torch.float32),
    "float32, large channels": Case(channel_size=1e3, dtype=torch.float32),
}


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Results]:
    """What the kernels compute for each case when they are interpreted."""
    if not is_installed("triton"):
        pytest.skip("triton is not installed")
    folder = tmp_path_factory.mktemp("interpreted")
    done = python(__file__, "interpret", "results.pt", cwd=folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, Results] = torch.load(folder / "results.pt")
    return found


@pytest.mark.parametrize("name", CASES)
def test_interpreted_kernels_compute_what_plain_pytorch_does(name: str, interpreted: dict[str, Results]) -> None:
    assert_right(interpreted[name], CASES[name])


@pytest.mark.slow
@needs_triton
def test_kernels_compile_for_an_h100(tmp_path: Path) -> None:
    done = python(__file__, "compile", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("top_kernel", "reads_kernel", "token_kernel"):
        assert list(tmp_path.rglob(f"{name}.cubin")), name


@needs_triton
def test_kernels_keep_their_globals_under_the_import_hook() -> None:
    import triton

    from perceptio.kernels.separable import triton_kernels

    kernels = [value for value in vars(triton_kernels).values() if isinstance(value, triton.JITFunction)]
    assert len(kernels) > 3
    for kernel in kernels:
        assert kernel.fn.__globals__ is vars(triton_kernels), kernel.fn.__name__


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_kernels_compute_what_plain_pytorch_does(name: str) -> None:
    backend = on_gpu()
    for fitting in (backend, small_blocks(CASES[name])):
        assert_right(compute(fitting, CASES[name], "cuda"), CASES[name])


@pytest.mark.gpu
def test_a_photograph_is_computed_right_and_the_same_each_time() -> None:
    backend, case = on_gpu(), Case(rows=512, outer=224, inner=224, batch=2, dtype=torch.float32)
    first = compute(backend, case, "cuda")
    assert_right(first, case, device="cuda")
    second = compute(backend, case, "cuda")
    for name, values in first.items():
        assert torch.equal(values, second[name]), name


@needs_triton
def test_half_precision_is_refused() -> None:
    from perceptio.kernels.separable.triton_backend import TritonBackend

    case = Case(dtype=torch.float16)
    queries, tokens, _ = draw(case)
    with pytest.raises(
        ValueError, match=r"^the triton backend needs float32 or float64, got torch\.float16\. Take 'torch'"
    ):
        TritonBackend().attend(queries, tokens)


def test_a_wrong_result_is_noticed() -> None:
    for name in ("mask, nothing present in the last of two samples", "float32"):
        right = compute(TorchBackend(), CASES[name])
        assert_right(right, CASES[name])
        for part, values in right.items():
            wrong = values.clone()
            wrong.view(-1)[0] += 1e-2 * values.nan_to_num(neginf=0.0).abs().max()
            with pytest.raises(AssertionError, match=part):
                assert_right({**right, part: wrong}, CASES[name])


def on_gpu() -> Backend:
    """Returns the backend as it is used, or skips."""
    if not is_installed("triton") or not torch.cuda.is_available():
        pytest.skip("needs a CUDA device and triton")
    from perceptio.kernels.separable.triton_backend import TritonBackend

    return TritonBackend()


def small_blocks(case: Case) -> Backend:
    """Returns the backend with blocks so small that tiny grids have several, some of them with padding."""
    from perceptio.kernels.separable.triton_backend import TritonBackend

    return TritonBackend(block_rows=4, block_places=2, tile=8, num_programs=case.programs)


def draw(case: Case) -> tuple[Queries, Tokens, Reads]:
    """Returns a case's inputs and gradients of its reads."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    samples, rows, grid = 1 if case.shared else case.batch, case.rows, (case.outer, case.inner)
    part = case.score_size / 3**0.5
    queries = (
        normal(samples, rows, case.channels) * part / (case.channel_size * case.channels**0.5),
        normal(samples, rows, case.outer) * part + case.score_shift,
        normal(samples, rows, case.inner) * part,
    )
    channels = normal(case.batch, case.channels, *grid) * case.channel_size
    rho = 0.75 + torch.rand(case.batch, *grid, generator=generator, dtype=torch.float64) / 2
    grads = (normal(case.batch, rows, length) for length in (case.channels, *grid))
    present = None
    if case.share_present is not None:
        present = torch.rand(case.batch, *grid, generator=generator) < case.share_present
        if case.empty_sample:
            present[-1] = False
    return (
        Queries(*(values.to(case.dtype) for values in queries)),
        Tokens(channels.to(case.dtype), rho.to(case.dtype), present),
        Reads(*(values.to(case.dtype) for values in grads), torch.zeros(case.batch, rows, dtype=case.dtype)),
    )


def compute(
    backend: Backend, case: Case, device: str = "cpu", dtype: torch.dtype | None = None, nudge: float = 0.0
) -> Results:
    """Returns all that a backend computes, by name, as the backward pass of `operation` calls it.

    Args:
        nudge: relative size of errors, of random sign, in queries, lse and delta.
    """
    generator = torch.Generator().manual_seed(1)

    def nudged(values: Tensor) -> Tensor:
        signs = torch.randint(2, values.shape, generator=generator).to(values) * 2 - 1
        return values * (1 + nudge * signs) if nudge else values

    kind = dtype or case.dtype
    queries, tokens, grads = (moved(values, device, kind) for values in draw(case))
    queries = Queries(*map(nudged, vars(queries).values()))
    reads = backend.attend(queries, tokens)
    pairs = ((grads.channels, reads.channels), (grads.outer, reads.outer), (grads.inner, reads.inner))
    delta = nudged(torch.stack([(grad * read).sum(dim=-1) for grad, read in pairs]).sum(dim=0))
    lse = nudged(torch.where(reads.lse == -torch.inf, torch.inf, reads.lse))
    on_queries = backend.query_gradients(queries, tokens, lse, grads, delta)
    gradients = (*vars(on_queries).values(), *backend.token_gradients(queries, tokens, lse, grads, delta))
    return {**vars(reads), **dict(zip(GRADIENTS, gradients, strict=True))}


def moved(values: Any, device: str, dtype: torch.dtype) -> Any:
    """Returns queries, tokens or reads on a device, their floating-point tensors in a type."""
    return type(values)(
        *(
            tensor if tensor is None else tensor.to(device, tensor.dtype if tensor.dtype == torch.bool else dtype)
            for tensor in vars(values).values()
        )
    )


def assert_right(found: Results, case: Case, device: str = "cpu") -> None:
    """Asserts that a backend's results are as exact as plain PyTorch's.

    In float64 they differ by rounding alone: 1e-16 times the largest term of a score, 1e4, with a margin of 100. In
    float32 they may err twice as much as plain PyTorch does, and gradients three times. Plain PyTorch may be exact by
    luck, say where a single token has all the weight: so what counts is its error and what rounding can do. That is a
    unit in the last place of a result, one more for a GPU's approximate power of two, and the effect of such units in
    queries, lse and delta.
    """
    right = compute(TorchBackend(), case, device, torch.float64)
    plain = compute(TorchBackend(), case, device)
    nudged = compute(TorchBackend(), case, device, torch.float64, nudge=EPS)
    assert found.keys() == right.keys()
    for name, exact in right.items():
        values = found[name].to(device)
        assert values.is_contiguous(), name
        assert values.dtype == case.dtype, name
        finite = exact.isfinite()
        assert torch.equal(values[~finite], exact[~finite].to(case.dtype)), f"{name}: -inf is elsewhere"
        scale = largest(exact[finite])
        allowed = 1e-10 * scale
        if case.dtype == torch.float32:
            plain_error, effect = (largest(part[name][finite] - exact[finite]) for part in (plain, nudged))
            allowed = (3 if name in GRADIENTS else 2) * (plain_error + effect + 2 * EPS * scale)
        error = largest(values[finite] - exact[finite])
        assert error <= allowed, f"{name}: errs by {error:.2g}, allowed are {allowed:.2g}"
        if case.empty_sample:
            assert torch.equal(values[-1], torch.full_like(values[-1], -torch.inf if name == "lse" else 0.0)), name


def largest(values: Tensor) -> Tensor:
    return values.abs().max()


def interpret(path: Path) -> None:
    """Stores what the interpreted kernels compute for all cases."""
    os.environ["TRITON_INTERPRET"] = "1"
    from triton.runtime import interpreter

    # Triton 3.6 takes int() of an array of one element for the bound of a loop, which NumPy 2.4 refuses.
    patch = interpreter._patch_lang_tensor

    def patch_more(tensor: Any, scope: Any) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = patch_more
    # NumPy warns of the logarithm of zero, of a row without tokens, and of the probabilities of padding.
    warnings.simplefilter("ignore", RuntimeWarning)
    torch.save({name: compute(small_blocks(case), case) for name, case in CASES.items()}, path)


def compile_only() -> None:
    """Compiles the kernels into the current folder, as they are launched for a case with all that a case can have."""
    os.environ["TRITON_CACHE_DIR"] = str(Path.cwd())
    from triton.backends.compiler import GPUTarget
    from triton.runtime import JITFunction, driver

    class H100:
        def get_current_target(self) -> GPUTarget:
            return GPUTarget("cuda", 90, 32)

        def get_current_device(self) -> int:
            return 0

        def get_current_stream(self, device: int) -> int:
            return device

    run = JITFunction.run
    JITFunction.run = lambda self, *args, **settings: run(self, *args, **{**settings, "warmup": True})
    driver.set_active(H100())
    case = Case(rows=128, channels=9, outer=8, inner=8, share_present=0.5, programs=2)
    from perceptio.kernels.separable.triton_backend import TritonBackend

    compute(TritonBackend(), case, dtype=torch.float32)


if __name__ == "__main__":
    if sys.argv[1] == "interpret":
        interpret(Path(sys.argv[2]))
    else:
        compile_only()
