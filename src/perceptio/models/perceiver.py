"""The Perceiver (paper section 3): a latent array that attends to a byte array, iterated with latent transformers."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from perceptio.inputs.contract import InputConfig
from perceptio.models.config import PerceiverConfig
from perceptio.models.heads import ClassificationHead
from perceptio.models.iteration_plan import count_weights, iteration_plan
from perceptio.modules.attention import CrossAttention, SelfAttention
from perceptio.modules.byte_array import ByteArray
from perceptio.modules.byte_view import ByteView
from perceptio.modules.initialisation import init_embedding
from perceptio.modules.layers import CrossAttend, LatentTransformer, SelfAttend
from perceptio.modules.reading.contract import Reader
from perceptio.shapes import Bool, Float, Int, Tensor

CrossAttendObserver = Callable[[int, CrossAttend, Tensor, Reader], bool]
"""Called before each cross-attend with its number from 0, its weights, the latents (B or 1, N, D) and the byte array as
these weights see it; returns whether to go on."""


class Perceiver(nn.Module):
    """Input, latent array, iteration and head.

    Args:
        input: turns raw tensors into a byte array; has `input_channels`: `GridInput`, `PointInput`, `StreamsInput`.
        config: the iteration.
        head: latents to outputs.

    Attributes:
        checkpoint_activations: whether training recomputes each step in the backward pass instead of keeping its
            activations. It changes memory and time, never the result.
    """

    def __init__(self, input: nn.Module, config: PerceiverConfig, head: nn.Module) -> None:
        super().__init__()
        self.input = input
        self.config = config
        self.plan = iteration_plan(config)
        self._uses = Counter(self.plan)
        self.checkpoint_activations = False
        self.latents = nn.Parameter(torch.empty(config.num_latents, config.latent_channels))
        init_embedding(self.latents, config.latent_init_std)
        self.cross_attends = nn.ModuleList(
            _make_cross_attend(cast(int, input.input_channels), config)
            for _ in range(count_weights(self.plan, "cross_attend"))
        )
        self.latent_transformers = nn.ModuleList(
            _make_latent_transformer(config) for _ in range(count_weights(self.plan, "latent_transformer"))
        )
        self.head = head

    def forward(
        self,
        inputs: Tensor | Mapping[str, Tensor],
        extents: Int[Tensor, "B A"] | Mapping[str, Tensor] | None = None,
        present: Bool[Tensor, " B"] | Mapping[str, Tensor] | None = None,
    ) -> Float[Tensor, "B outputs"]:
        """Returns the head's output for a batch of raw inputs; the arguments are those of the input's `forward`."""
        outputs: Tensor = self.head(self.encode(self.input(inputs, extents, present)))
        return outputs

    def encode(self, byte_array: ByteArray, observe: CrossAttendObserver | None = None) -> Float[Tensor, "B N D"]:
        """Walks the iteration plan and returns the last latents.

        What a cross-attend prepares depends on the byte array and its weights alone: cross-attends that follow each
        other with the same weights share it.

        Args:
            observe: called before each cross-attend; when it returns False, the walk ends there.
        """
        view = ByteView(byte_array)
        # The first cross-attend's queries are the same for every sample: it computes them once.
        latents = self.latents[None]
        prepared_weights, prepared = None, None
        num_seen = 0
        for step in self.plan:
            if step.part == "latent_transformer":
                latents = self._run(self.latent_transformers[step.weights], latents)
                continue
            cross_attend = self.cross_attends[step.weights]
            assert isinstance(cross_attend, CrossAttend)
            if self._recomputes and self._uses[step] == 1 and observe is None:
                # Weights that are used once share nothing: what they prepare need not be kept either. What they share
                # with others must not first be computed where it is to be forgotten.
                cross_attend.attention.look(view)
                latents = self._run(cross_attend.read, latents, view)
                continue
            if prepared is None or prepared_weights != step.weights:
                prepared_weights, prepared = step.weights, cross_attend.prepare(view)
            if observe is not None and not observe(num_seen, cross_attend, latents, prepared):
                return latents
            num_seen += 1
            latents = self._run(cross_attend, latents, prepared)
        return latents

    @property
    def _recomputes(self) -> bool:
        return self.checkpoint_activations and self.training

    def _run(self, part: Callable[..., Tensor], *arguments: object) -> Tensor:
        if self._recomputes:
            recomputed: Tensor = checkpoint(part, *arguments, use_reentrant=False)
            return recomputed
        return part(*arguments)


def build_perceiver(input_config: InputConfig, config: PerceiverConfig, num_classes: int) -> Perceiver:
    """Returns the paper's classifier: input, Perceiver, mean over latents, linear."""
    return Perceiver(input_config.build(), config, ClassificationHead(config.latent_channels, num_classes))


def _make_cross_attend(input_channels: int, config: PerceiverConfig) -> CrossAttend:
    qk_channels, v_channels = config.attention_widths(input_channels)
    attention = CrossAttention(
        input_channels,
        config.latent_channels,
        num_heads=config.num_cross_attend_heads,
        qk_channels=qk_channels,
        v_channels=v_channels,
        num_latents=config.num_latents,
        reading=config.reading,
        dropout=config.attention_dropout,
    )
    return CrossAttend(
        attention,
        config.latent_channels,
        widening_factor=config.cross_attend_widening_factor,
        gelu=config.gelu,
        dropout=config.dropout,
    )


def _make_latent_transformer(config: PerceiverConfig) -> LatentTransformer:
    return LatentTransformer(
        *(
            SelfAttend(
                SelfAttention(
                    config.latent_channels,
                    num_heads=config.num_self_attend_heads,
                    dropout=config.attention_dropout,
                ),
                config.latent_channels,
                widening_factor=config.self_attend_widening_factor,
                gelu=config.gelu,
                dropout=config.dropout,
            )
            for _ in range(config.num_self_attends_per_block)
        )
    )
