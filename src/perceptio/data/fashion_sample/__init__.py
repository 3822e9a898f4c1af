"""The embedded sample: 12,000 training and 2,000 test images of Fashion-MNIST, so that nothing need be downloaded."""

from pathlib import Path

from perceptio.data.idx import IdxSource, read_idx

FASHION_SAMPLE = Path(__file__).parent
"""The folder of the sample, with its licence (MIT, Zalando SE) and ORIGIN.md, which says how it was chosen."""


def read_fashion_sample() -> IdxSource:
    """Returns the embedded sample: 10 classes of garments, 1,200 train and 200 test images each, grey, 28 x 28."""
    return read_idx(FASHION_SAMPLE)
