import re

import pytest
import torch
from torch.testing import assert_close

from perceptio.modules.byte_array import ByteArray, GridPositions, Segment, TokenPositions


def make_grid_positions(batch: int = 1) -> GridPositions:
    tables = (torch.randn(batch, 2, 3), torch.randn(1, 5, 3))
    return GridPositions(tables=tables, kinds=(1, 2))


def test_grid_features_by_plain_loops() -> None:
    positions = make_grid_positions(batch=2)
    rows, columns = positions.tables
    dense = positions.dense()
    assert dense.shape == (2, 10, 6)
    assert positions.num_tokens == 10
    assert positions.num_channels == 6
    for b in range(2):
        for i in range(2):
            for j in range(5):
                # First kind (1 column) of both axes, then the second kind (2 columns) of both.
                expected = torch.cat([rows[b, i, :1], columns[0, j, :1], rows[b, i, 1:], columns[0, j, 1:]])
                assert_close(dense[b, i * 5 + j], expected, rtol=0, atol=0)


def test_a_segment_is_channels_then_positions_then_encoding() -> None:
    channels, encoding = torch.randn(2, 10, 3), torch.randn(4)
    positions = make_grid_positions()
    segment = Segment(channels=channels, positions=positions, encoding=encoding)
    dense = segment.dense()
    assert segment.num_channels == dense.shape[-1] == 13
    assert_close(dense[:, :, :3], channels, rtol=0, atol=0)
    assert_close(dense[:, :, 3:9], positions.dense().expand(2, -1, -1), rtol=0, atol=0)
    assert_close(dense[:, :, 9:], encoding.expand(2, 10, 4), rtol=0, atol=0)


def test_segments_stand_one_after_the_other_and_so_do_their_masks() -> None:
    mask = torch.tensor([[True, False], [False, True]])
    first = Segment(channels=torch.randn(2, 3, 5))
    second = Segment(channels=torch.randn(2, 2, 1), positions=TokenPositions(features=torch.randn(1, 2, 4)), mask=mask)
    byte_array = ByteArray(segments=(first, second))
    assert (byte_array.batch_size, byte_array.num_tokens, byte_array.num_channels) == (2, 5, 5)
    assert_close(byte_array.dense(), torch.cat([first.dense(), second.dense()], dim=1), rtol=0, atol=0)
    whole = byte_array.mask()
    assert whole is not None
    assert whole.tolist() == [[True, True, True, True, False], [True, True, True, False, True]]
    assert ByteArray(segments=(first,)).mask() is None


def test_segments_of_different_widths_are_refused() -> None:
    narrow, wide = Segment(channels=torch.randn(2, 3, 4)), Segment(channels=torch.randn(2, 3, 5))
    message = (
        "the segments of a byte array must have one number of channels, got [4, 5]. "
        "Widen the narrower ones with a modality encoding."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ByteArray(segments=(narrow, wide))


def test_features_keep_the_sample_channels_dtype() -> None:
    segment = Segment(channels=torch.randn(2, 10, 3, dtype=torch.float64), positions=make_grid_positions())
    assert segment.dense().dtype == torch.float64


def test_an_order_shuffles_dense_and_mask_alike_and_keeps_the_grid() -> None:
    channels, positions = torch.randn(2, 10, 3), make_grid_positions()
    mask, order = torch.rand(2, 10) < 0.5, torch.randperm(10)
    plain = Segment(channels=channels, positions=positions, mask=mask)
    shuffled = Segment(channels=channels, positions=positions, mask=mask, order=order)
    assert_close(shuffled.dense(), plain.dense()[:, order], rtol=0, atol=0)
    assert torch.equal(shuffled.dense_mask(), mask[:, order])
    assert shuffled.positions is positions
