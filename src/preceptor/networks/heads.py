"""Layers of our own behind a backbone: projection heads, and blocks on its last map."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ProjectionHead(nn.Module):
    """g = normalise(W·f + b), unit rows (CRCKD, section 2.2); with ``hidden``, W₂·ReLU(W₁·f) (SSKD, Xu et al. 2020)."""

    def __init__(self, inputs: int, width: int, hidden: int | None = None) -> None:
        super().__init__()
        self.hidden = None if hidden is None else nn.Linear(inputs, hidden)
        self.linear = nn.Linear(hidden or inputs, width)

    def forward(self, embedding: Tensor) -> Tensor:
        inner = embedding if self.hidden is None else F.relu(self.hidden(embedding))
        return F.normalize(self.linear(inner), dim=1)

    def reset_parameters(self) -> None:
        """Fresh weights from torch's global generator."""
        for layer in (self.hidden, self.linear):
            if layer is not None:
                layer.reset_parameters()


def projection_head(wanted: int | str | None, inputs: int) -> ProjectionHead | None:
    """The head that an architecture's ``projection`` asks for, on embeddings (B, ``inputs``)."""
    if wanted is None:
        return None
    return ProjectionHead(inputs, inputs, inputs) if isinstance(wanted, str) else ProjectionHead(inputs, wanted)


def _conv(inputs: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())


def _projector(inputs: int, channels: int) -> nn.Sequential:
    """Build SimKD's projector: 1×1 to half of the channels, 3×3, 1×1, each with batch norm and ReLU."""
    middle = max(channels // 2, 1)
    spatial = nn.Sequential(nn.Conv2d(middle, middle, 3, padding=1, bias=False), nn.BatchNorm2d(middle), nn.ReLU())
    return nn.Sequential(_conv(inputs, middle), spatial, _conv(middle, channels))


#: By the name that an architecture has for them.
MAP_BLOCKS = {"conv": _conv, "projector": _projector}
