"""From latents to outputs."""

from torch import nn

from perceptio.shapes import Float, Tensor


class ClassificationHead(nn.Module):
    """The mean over latents, then one linear layer (paper App. C; no layer norm).

    The weights start at zero as in the official `ProjectionDecoder`: an untrained model finds all classes equally
    likely.
    """

    def __init__(self, latent_channels: int, num_classes: int) -> None:
        super().__init__()
        self.logits = nn.Linear(latent_channels, num_classes)
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)

    def forward(self, latents: Float[Tensor, "B N D"]) -> Float[Tensor, "B classes"]:
        """Returns the logits."""
        logits: Tensor = self.logits(latents.mean(dim=1))
        return logits
