"""The rule of "auto" on shapes whose answer is known; benchmarks/cross_attention.py --grid measures how close it is."""

from perceptio.modules.reading.cost import QueryShape, ReadingPlan, SegmentShape, cheapest_plan

PAPER = QueryShape(num_latents=512, num_heads=1, qk_channels=261, v_channels=261)


def image(side: int = 224, *, channels: int = 3, separable: bool = True, batch: int = 1) -> SegmentShape:
    return SegmentShape(
        batch=batch,
        num_tokens=side * side,
        num_channels=258 + channels,
        sample_channels=channels,
        grid=(side, side) if separable else None,
    )


def test_the_papers_image_is_read_separably_by_the_fastest_backend() -> None:
    assert cheapest_plan([image()], PAPER, "cpu", ("numba", "torch")) == ReadingPlan("separable", (0,), "numba")
    assert cheapest_plan([image()], PAPER, "cpu", ("torch",)) == ReadingPlan("separable", (0,), "torch")


def test_on_a_gpu_the_papers_images_are_read_separably_by_triton_alone() -> None:
    """As measured for 16 of them: Triton 4 ms, folding 25, the PyTorch backend 142. Of few its calls are the cost."""
    assert cheapest_plan([image(batch=1)], PAPER, "cuda", ("triton", "torch")) == ReadingPlan("folded")
    for batch in (8, 16, 64):
        images = image(batch=batch)
        assert cheapest_plan([images], PAPER, "cuda", ("triton", "torch")) == ReadingPlan("separable", (0,), "triton")
        assert cheapest_plan([images], PAPER, "cuda", ("torch",)) == ReadingPlan("folded")


def test_on_a_gpu_patches_are_for_matrix_products() -> None:
    """As measured for 16 clips in patches of 2 x 8 x 8: projected 24 ms, Triton 1,658."""
    clips = image(64, channels=384, batch=16)
    assert cheapest_plan([clips], PAPER, "cuda", ("triton", "torch")).method in ("projected", "folded")


def test_many_sample_channels_are_for_matrix_products() -> None:
    patches = image(56, channels=48)
    assert cheapest_plan([patches], PAPER, "cpu", ("numba", "torch")) == ReadingPlan("separable", (0,), "torch")


def test_positions_of_each_token_are_folded_while_rows_are_few_and_projected_when_heads_are_many() -> None:
    points = image(45, separable=False)
    assert cheapest_plan([points], PAPER, "cpu", ()).method == "folded"
    many = QueryShape(num_latents=512, num_heads=16, qk_channels=256, v_channels=256)
    assert cheapest_plan([points], many, "cpu", ()).method == "projected"


def test_an_axis_as_long_as_the_input_is_not_separated() -> None:
    waveform = SegmentShape(batch=1, num_tokens=480, num_channels=513, sample_channels=128, grid=(1, 480))
    assert cheapest_plan([waveform], PAPER, "cpu", ("numba", "torch")).method != "separable"


def test_little_work_is_done_in_few_operations() -> None:
    few = QueryShape(num_latents=4, num_heads=1, qk_channels=16, v_channels=16)
    assert cheapest_plan([image(8)], few, "cpu", ("numba", "torch")).method != "separable"


def test_each_segment_is_decided_by_itself() -> None:
    sound = SegmentShape(batch=1, num_tokens=480, num_channels=261, sample_channels=128, grid=(1, 480))
    plan = cheapest_plan([sound, image(), image(40, separable=False)], PAPER, "cpu", ("numba", "torch"))
    assert plan == ReadingPlan("separable", (1,), "numba")


def test_a_forced_separation_leaves_only_the_backend_open() -> None:
    """Folding would be cheaper for the small one."""
    plan = cheapest_plan([image(), image(8)], PAPER, "cpu", ("numba", "torch"), only_separable=True)
    assert plan == ReadingPlan("separable", (0, 1), "numba")


def test_an_unknown_kind_of_device_is_judged_by_the_cpus_rates() -> None:
    assert cheapest_plan([image()], PAPER, "mps", ("torch",)).method == "separable"
