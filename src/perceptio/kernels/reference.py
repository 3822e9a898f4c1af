"""The oracle: the same functions as plain loops over plain numbers, in float64, written to be read. For tests only."""

import math

import torch

from perceptio.shapes import Bool, Float, Tensor


def attend_reference(
    q_BHNE: Float[Tensor, "B H N E"],
    k_BHME: Float[Tensor, "B H M E"],
    v_BHMV: Float[Tensor, "B H M V"],
    byte_mask: Bool[Tensor, "B M"] | None = None,
) -> Float[Tensor, "B H N V"]:
    """Returns what `attend` returns, one output number at a time."""
    q, k, v = (tensor.detach().double() for tensor in (q_BHNE, k_BHME, v_BHMV))
    batch, heads, num_latents, width = q.shape
    attended = torch.zeros(batch, heads, num_latents, v.shape[-1], dtype=torch.float64)
    for b in range(batch):
        present = [m for m in range(k.shape[2]) if byte_mask is None or bool(byte_mask[b, m])]
        for h in range(heads):
            for n in range(num_latents):
                scores = [
                    sum(float(q[b, h, n, e] * k[b, h, m, e]) for e in range(width)) / math.sqrt(width) for m in present
                ]
                top = max(scores, default=0.0)
                weights = [math.exp(score - top) for score in scores]
                for m, weight in zip(present, weights, strict=True):
                    attended[b, h, n] += weight / sum(weights) * v[b, h, m]
    return attended


def fourier_features_reference(
    positions: Float[Tensor, "M A"], num_bands: int, max_frequencies: list[float]
) -> Float[Tensor, "M features"]:
    """Returns the features of M points in A axes in the official order: positions, all sines, all cosines."""
    rows = []
    for point in positions.double().tolist():
        sines, cosines = [], []
        for coordinate, top in zip(point, max_frequencies, strict=True):
            for band in range(num_bands):
                frequency = 1.0 + (top - 1.0) * band / (num_bands - 1) if num_bands > 1 else 1.0
                sines.append(math.sin(math.pi * frequency * coordinate))
                cosines.append(math.cos(math.pi * frequency * coordinate))
        rows.append([*point, *sines, *cosines])
    return torch.tensor(rows, dtype=torch.float64)
