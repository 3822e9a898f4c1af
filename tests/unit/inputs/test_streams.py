import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from perceptio.errors import UsageError
from perceptio.inputs.grid import GridEncoding, GridInputConfig
from perceptio.inputs.points import PointInputConfig
from perceptio.inputs.streams import StreamsInput, StreamsInputConfig
from perceptio.models.perceiver import Perceiver, build_perceiver
from perceptio.modules.reading.choice import ReadingConfig
from support.configs import TINY_MODEL

BATCH = 3
IMAGE = GridInputConfig(axes=(5, 7), channels=3, encoding=GridEncoding(num_bands=3))  # 3 + 2 x 7 = 17 channels
AUDIO = GridInputConfig(axes=(26,), channels=1, encoding=GridEncoding(num_bands=4, patch=(2,)))  # 2 + 9 = 11
CLOUD = PointInputConfig(num_points=11, num_bands=3)  # 3 x 7 = 21


def config_of(names: str = "image audio cloud", **fields: Any) -> StreamsInputConfig:
    known = {"image": IMAGE, "audio": AUDIO, "cloud": CLOUD}
    return StreamsInputConfig({name: known[name] for name in names.split()}, **fields)


def values_of(config: StreamsInputConfig, *, batch: int = BATCH, seed: int = 2) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    found = {}
    for name, stream in config.streams.items():
        axes, channels = stream.raw_shape
        found[name] = 2 * torch.rand(batch, *axes, channels, generator=random) - 1
    return found


def make(config: StreamsInputConfig, **fields: Any) -> Perceiver:
    """A model whose every weight matters: the head would start at zero, and modality encodings near it."""
    torch.manual_seed(3)
    model = build_perceiver(config, replace(TINY_MODEL, latent_init_std=1.0, **fields), 5)
    with torch.no_grad():
        model.head.logits.weight.normal_()
        for encoding in model.input.encodings.values():
            encoding.normal_()
    return model.eval()


def answers(model: Perceiver, *given: Mapping[str, torch.Tensor] | None) -> torch.Tensor:
    with torch.inference_mode():
        return model(*given)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert_close(found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize(
    ("names", "modality_channels", "input_channels", "num_tokens"),
    [("image audio", 4, 21, 48), ("audio image", 4, 21, 48), ("image audio cloud", 7, 28, 59), ("audio", 7, 11, 13)],
)
def test_all_tokens_have_the_channels_of_the_widest_and_its_encoding(
    names: str, modality_channels: int, input_channels: int, num_tokens: int
) -> None:
    config = config_of(names, modality_channels=modality_channels)
    assert (config.input_channels, config.num_tokens) == (input_channels, num_tokens)
    streams = config.build()
    byte_array = streams(values_of(config))
    assert byte_array.dense().shape == (BATCH, num_tokens, input_channels)
    assert streams.input_channels == input_channels
    assert [segment.channels.shape[1] for segment in byte_array.segments] == [
        config.streams[name].num_tokens for name in names.split()
    ]


def test_the_papers_audioset_sizes() -> None:
    """Section 4.2: 12,544 patches of 2 x 8 x 8 and 480 segments of 128 samples, or 4,800 values of a spectrogram."""
    video = GridInputConfig(axes=(32, 224, 224), channels=3, encoding=GridEncoding(num_bands=16, patch=(2, 8, 8)))
    raw = GridInputConfig(axes=(61_440,), channels=1, encoding=GridEncoding(num_bands=64, patch=(128,)))
    mel = GridInputConfig(axes=(4_800,), channels=1, encoding=GridEncoding(num_bands=64))
    assert (video.num_tokens, video.input_channels) == (12_544, 483)
    for audio, num_tokens in ((raw, 13_024), (mel, 17_344)):
        config = StreamsInputConfig({"video": video, "audio": audio})
        assert (config.num_tokens, config.input_channels) == (num_tokens, 487)
    with torch.device("meta"):
        streams = StreamsInputConfig({"video": video, "audio": raw}).build()
        inputs = {"video": torch.empty(2, 32, 224, 224, 3), "audio": torch.empty(2, 61_440, 1)}
        assert {name: len(encoding) for name, encoding in streams.encodings.items()} == {"video": 4, "audio": 230}
        assert sum(segment.channels.shape[1] for segment in streams(inputs).segments) == 13_024


def test_a_single_stream_is_its_bare_input() -> None:
    config = config_of("image")
    streams = make(config)
    torch.manual_seed(3)
    bare = build_perceiver(IMAGE, streams.config, 5).eval()
    assert len(streams.input.encodings) == 0
    bare.load_state_dict(streams.state_dict())
    values = values_of(config)["image"]
    extents, present = torch.tensor([[5, 7], [2, 3], [4, 1]]), torch.tensor([True, False, True])
    for given in ((values,), (values, extents), (values, extents, present), (values, None, present)):
        named = [None if part is None else {"image": part} for part in given]
        assert torch.equal(answers(streams, *named), answers(bare, *given))


def test_an_encoding_is_shared_by_all_tokens_of_its_stream_and_gets_a_gradient() -> None:
    config = config_of()
    model = make(config).train()
    widths = {name: config.input_channels - stream.input_channels for name, stream in config.streams.items()}
    byte_array = model.input(values_of(config))
    for (name, width), segment in zip(widths.items(), byte_array.segments, strict=True):
        encoding = model.input.encodings[name]
        assert isinstance(encoding, torch.nn.Parameter)
        assert encoding.shape == (width,)
        tail = segment.dense()[..., -width:]
        assert torch.equal(tail, encoding.expand_as(tail))
    model(values_of(config)).square().sum().backward()
    for name, encoding in model.input.encodings.items():
        assert encoding.grad is not None
        assert encoding.grad.abs().max() > 0, name


def test_encodings_start_small_and_differ() -> None:
    """Those of the paper's code: a cut normal of 0.02."""
    torch.manual_seed(0)
    streams = StreamsInputConfig({str(n): replace(AUDIO, channels=n) for n in range(1, 60, 2)}).build()
    values = torch.cat([encoding.detach() for encoding in streams.encodings.values()])
    assert values.std().item() == pytest.approx(0.02, rel=0.15)
    assert values.abs().max() <= 0.05


def test_the_values_of_a_masked_stream_have_no_influence() -> None:
    config = config_of()
    model, values = make(config), values_of(config)
    present = {"audio": torch.tensor([True, False, True]), "cloud": torch.tensor([True, False, False])}
    expected = answers(model, values, {}, present)
    changed = {name: tensor.clone() for name, tensor in values.items()}
    changed["audio"][1] = 1e3
    changed["cloud"][1:] = torch.rand(2, 11, 3)
    assert torch.equal(answers(model, changed, {}, present), expected)
    changed["cloud"][0] += 0.1
    moved = (answers(model, changed, {}, present) - expected).abs().amax(dim=1)
    assert moved[0] > 1e-3
    assert torch.equal(moved[1:], torch.zeros(2))


def test_zeros_in_place_of_a_stream_are_zeros() -> None:
    config = config_of(absent="zeros")
    model, values = make(config), values_of(config)
    present = {"audio": torch.tensor([True, False, True]), "cloud": torch.tensor([False, False, True])}
    blanked = {name: tensor.clone() for name, tensor in values.items()}
    blanked["audio"][1] = 0
    blanked["cloud"][:2] = 0
    expected = answers(model, blanked)
    assert torch.equal(answers(model, values, {}, present), expected)
    masked = make(config_of())
    masked.load_state_dict(model.state_dict())
    assert (answers(masked, values, {}, present) - expected).abs().max() > 1e-3, "which is not leaving it out"


@pytest.mark.parametrize("absent", ["masked", "zeros"])
def test_a_stream_that_is_left_out_is_absent_everywhere(absent: Any) -> None:
    config = config_of(absent=absent)
    model, values = make(config), values_of(config)
    nobody = torch.zeros(BATCH, dtype=torch.bool)
    for left_out in ({"audio"}, {"image", "cloud"}):
        given = {name: tensor for name, tensor in values.items() if name not in left_out}
        close(answers(model, given), answers(model, values, {}, dict.fromkeys(left_out, nobody)))


def test_a_stream_that_a_batch_lacks_gets_gradients_of_zero_as_a_masked_one_does() -> None:
    """Learned positions among them: processes that average gradients wait for one of every weight."""
    learned = replace(IMAGE, encoding=GridEncoding(positions="learned", learned_channels=13))
    config = StreamsInputConfig({"image": learned, "audio": AUDIO})
    values = {name: tensor.double() for name, tensor in values_of(config).items()}
    nobody, found = torch.zeros(BATCH, dtype=torch.bool), []
    for given in (({"audio": values["audio"]},), (values, {}, {"image": nobody})):
        model = make(config).double().train()
        model(*given).square().sum().backward()
        found.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert all(gradient is not None for gradients in found for gradient in gradients.values())
    for name in ("input.encodings.image", "input.streams.image.positions.features"):
        assert found[0][name].abs().max() == found[1][name].abs().max() == 0.0, name
    for name, gradient in found[1].items():
        assert_close(found[0][name], gradient, rtol=1e-9, atol=1e-11)


def test_each_sample_of_a_mixed_batch_has_the_answer_that_it_has_alone() -> None:
    config = config_of()
    model, values = make(config), values_of(config)
    extents = {"image": torch.tensor([[5, 7], [2, 3], [4, 1]]), "audio": torch.tensor([[26], [26], [10]])}
    present = {"audio": torch.tensor([True, False, True]), "cloud": torch.tensor([True, True, False])}
    together = answers(model, values, extents, present)
    for row in range(BATCH):
        alone: dict[str, torch.Tensor] = {}
        for name, tensor in values.items():
            if name not in present or present[name][row]:
                lengths = extents[name][row].tolist() if name in extents else tensor.shape[1:-1]
                alone[name] = tensor[row : row + 1][(slice(None), *(slice(0, length) for length in lengths))]
        close(together[row : row + 1], answers(model, alone))


@pytest.mark.parametrize("absent", ["masked", "zeros"])
@pytest.mark.parametrize("way", [("separable", "torch"), ("separable", "numba"), ("folded", "auto")])
def test_every_way_of_reading_gives_one_answer(way: tuple[Any, Any], absent: Any) -> None:
    config = config_of("image audio", absent=absent)
    values = values_of(config)
    present = {"image": torch.tensor([True, True, False]), "audio": torch.tensor([True, False, True])}
    found = []
    for method, backend in (way, ("projected", "auto")):
        model = make(config, reading=ReadingConfig(method=method, backend=backend))
        found.append([answers(model, values, {}, present), answers(model, {"audio": values["audio"]})])
    for ours, theirs in zip(*found, strict=True):
        close(ours, theirs)


def test_a_sample_that_lacks_everything_gives_a_finite_answer() -> None:
    config = config_of("image audio")
    nobody = torch.tensor([True, False, True])
    found = answers(make(config), values_of(config), {}, {"image": nobody, "audio": nobody})
    assert bool(torch.isfinite(found).all())


@pytest.mark.parametrize("place", [0, 1, 2])
def test_unknown_names_are_errors(place: int) -> None:
    config = config_of("image audio")
    streams, values = config.build(), values_of(config)
    given: list[dict[str, torch.Tensor]] = [values, {}, {}]
    given[place] = {**given[place], "sound": torch.ones(BATCH, dtype=torch.bool if place == 2 else torch.int64)}
    if place == 1:
        given[place]["sound"] = given[place]["sound"][:, None]
    with pytest.raises(ValueError, match=r"^unknown stream 'sound'; this model has image, audio$"):
        streams(*given)


def test_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^no stream is given; this model has image, audio$"):
        config_of("image audio").build()({})
    with pytest.raises(ValueError, match=r"^an input needs at least one stream, got none$"):
        StreamsInputConfig({})
    with pytest.raises(ValueError, match=r"^modality_channels must be at least 1, got 0$"):
        config_of("image audio", modality_channels=0)


@pytest.mark.parametrize("name", ["values", "keys", "training", "a.b", ""])
def test_names_that_pytorch_keeps_for_itself_are_refused(name: str) -> None:
    message = (
        f"a stream cannot be called {name!r}: PyTorch's modules keep that name for themselves. Choose another name; in "
        "a table it is the column's"
    )
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        StreamsInputConfig({name: IMAGE})


@pytest.mark.usefixtures("unchecked_types")
def test_a_bare_tensor_is_no_set_of_streams() -> None:
    message = "a model of streams expects its inputs by name, such as {'image': tensor}, got Tensor"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        config_of("image audio").build()(torch.randn(2, 5, 7, 3))


def test_other_sizes_are_accepted_where_all_streams_do() -> None:
    fixed = replace(IMAGE, encoding=GridEncoding(num_bands=3, permutation_seed=2))
    assert config_of().accepts_other_sizes
    assert not StreamsInputConfig({"audio": AUDIO, "image": fixed}).accepts_other_sizes


def test_each_stream_can_be_asked_for_its_tokens() -> None:
    streams = config_of().build()
    assert isinstance(streams, StreamsInput)
    assert streams.stream("audio").token_axes((26,)) == (13,)
    assert streams.stream("image").token_axes((5, 7)) == (5, 7)
