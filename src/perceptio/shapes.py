"""The letters of every shape annotation in the project, as the paper uses them where it names them.

    B  batch                          H  attention heads
    M  byte array length              F  attention width, all heads together
    C  byte array channels            E  attention width of one head, F / H
    N  latents                        A  position axes of a grid
    D  latent channels                K  frequency bands

Words stand for raw data: ``"B *axes channels"`` is a batch of grids of any number of axes, channels last.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

ByteMask = Bool[Tensor, "B M"]
Latents = Float[Tensor, "B N D"]

__all__ = ["Bool", "ByteMask", "Float", "Int", "Latents", "Tensor"]
