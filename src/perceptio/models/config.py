"""The choices of a Perceiver, each with the paper's value as default."""

import math
from dataclasses import dataclass, field
from typing import Literal

from perceptio.choices import check_choices
from perceptio.modules.attention import check_head_widths
from perceptio.modules.feed_forward import GeluKind
from perceptio.modules.reading.choice import ReadingConfig, check_dropout

Sharing = Literal["none", "all_but_first", "all"]
"""Which repetitions use one set of weights: none of them, all but the first, or all."""


@dataclass(frozen=True, kw_only=True)
class PerceiverConfig:
    """A Perceiver apart from its input and its head. Defaults: the paper's ImageNet model (section 4.1)."""

    num_latents: int = 512
    """Length of the latent array (N)."""
    latent_channels: int = 1024
    """Channels of the latent array (D)."""
    num_cross_attends: int = 8
    """How often the latents attend to the byte array."""
    num_blocks: int = 8
    """Latent transformers in the whole model; 0 leaves only cross-attends (paper Tab. 5)."""
    num_self_attends_per_block: int = 6
    """Layers of one latent transformer."""
    cross_attend_placement: Literal["interleaved", "at_start"] = "interleaved"
    """Spread evenly between the latent transformers, or all before the first (paper Tab. 6)."""
    share_cross_attends: Sharing = "all_but_first"
    """Weight sharing between cross-attends. Sharing the first as well made the paper's training unstable."""
    share_latent_transformers: Sharing = "all"
    """Weight sharing between latent transformers, layer by layer."""
    num_cross_attend_heads: int = 1
    """Heads of a cross-attend."""
    num_self_attend_heads: int = 8
    """Heads of a latent transformer's layers."""
    qk_channels: int | None = None
    """Width of a cross-attend's queries and keys; None: min(C, D), the paper's rule."""
    v_channels: int | None = None
    """Width of a cross-attend's values; None: as wide as queries and keys."""
    cross_attend_widening_factor: int = 1
    """Hidden width of a cross-attend's feed-forward part, in multiples of D."""
    self_attend_widening_factor: int = 1
    """The same for a latent transformer's layers."""
    gelu: GeluKind = "tanh"
    """The official code computes the tanh approximation, transformers the exact function ("erf")."""
    latent_init_std: float = 0.02
    """Standard deviation of the cut normal that the latent array starts from."""
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    """How cross-attends are computed: method and backend. Speed and memory alone."""
    dropout: float = 0.0
    """Dropout after attention and feed-forward parts; the paper's models use none."""
    attention_dropout: float = 0.0
    """Dropout of attention weights; the paper's models use none."""

    def __post_init__(self) -> None:
        check_choices(self)
        for name in (
            "num_latents",
            "latent_channels",
            "num_cross_attends",
            "num_cross_attend_heads",
            "num_self_attend_heads",
            "cross_attend_widening_factor",
            "self_attend_widening_factor",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("num_blocks", "num_self_attends_per_block"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("qk_channels", "v_channels"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 or None, got {getattr(self, name)}")
        for name in ("dropout", "attention_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        check_dropout(self.attention_dropout, self.reading)
        if not 0.0 < self.latent_init_std < math.inf:
            raise ValueError(
                f"latent_init_std must be finite and greater than 0, got {self.latent_init_std}. The paper takes 0.02"
            )
        widths = {"latent_channels": self.latent_channels}
        check_head_widths("num_self_attend_heads", self.num_self_attend_heads, widths)

    def attention_widths(self, input_channels: int) -> tuple[int, int]:
        """Returns (qk, v) widths of a cross-attend over bytes of `input_channels` channels."""
        qk_channels = min(input_channels, self.latent_channels) if self.qk_channels is None else self.qk_channels
        return qk_channels, qk_channels if self.v_channels is None else self.v_channels
