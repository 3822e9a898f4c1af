"""Parameters and floating-point operations by formula (paper App. B: a multiply and an add count as two)."""

from dataclasses import dataclass

from torch import nn

from perceptio.models.config import PerceiverConfig


@dataclass(frozen=True, kw_only=True)
class FlopCount:
    """Floating-point operations of one sample's forward pass, matrix products only.

    The formulas count what the paper counts: keys and values anew at each cross-attend. `shared` is what is saved
    when cross-attends of the same weights compute them once, as this implementation does.
    """

    cross_attends: int
    latent_transformers: int
    head: int
    shared: int

    @property
    def total(self) -> int:
        """The paper's count."""
        return self.cross_attends + self.latent_transformers + self.head


def count_parameters(model: nn.Module) -> int:
    """Returns the number of trained values; a shared one counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_flops(config: PerceiverConfig, *, num_tokens: int, input_channels: int, num_outputs: int) -> FlopCount:
    """Returns the operations of one forward pass over M = `num_tokens` bytes of C = `input_channels` channels.

    cross-attend = 2 (M C (F + V) + N D F + N V D + N M (F + V) + 2 w N D^2), of which the first term is its part in
    O(M C); self-attend = 2 (4 N D^2 + 2 N^2 D + 2 w N D^2). With F = V = min(C, D) and w = 1 they are the paper's.
    """
    N, D, M, C = config.num_latents, config.latent_channels, num_tokens, input_channels
    F, V = config.attention_widths(C)
    keys_values = 2 * M * C * (F + V)
    attention = 2 * (N * D * F + N * V * D + N * M * (F + V))
    cross_attend = keys_values + attention + 4 * config.cross_attend_widening_factor * N * D * D
    self_attend = 2 * (4 * N * D * D + 2 * N * N * D + 2 * config.self_attend_widening_factor * N * D * D)
    distinct = {"none": config.num_cross_attends, "all_but_first": 2, "all": 1}[config.share_cross_attends]
    repeated = max(0, config.num_cross_attends - distinct)
    return FlopCount(
        cross_attends=config.num_cross_attends * cross_attend,
        latent_transformers=config.num_blocks * config.num_self_attends_per_block * self_attend,
        head=2 * D * num_outputs,
        shared=repeated * keys_values,
    )
