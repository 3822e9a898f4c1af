"""Any recipe made small enough for two training steps on a laptop: what stays is its structure, not its size."""

from dataclasses import replace

from perceptio.data.splits import SplitConfig
from perceptio.runs.config import RunConfig


def smoke(config: RunConfig) -> RunConfig:
    """Returns the recipe with small samples, few latents and one epoch; iteration, sharing and task stay."""
    model = replace(
        config.model,
        num_latents=8,
        latent_channels=16,
        num_self_attend_heads=min(config.model.num_self_attend_heads, 4),
        num_cross_attend_heads=1,
        qk_channels=None,
        v_channels=None,
        num_self_attends_per_block=min(config.model.num_self_attends_per_block, 2),
    )
    return replace(
        config,
        epochs=1,
        batch_size=8,
        split=SplitConfig(validation=0.25, test=0.25),
        streams=replace(
            config.streams,
            by_name={name: modality.shrunk() for name, modality in config.streams.by_name.items()},
        ),
        model=model,
    )
