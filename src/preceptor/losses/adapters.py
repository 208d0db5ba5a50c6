"""Layers that losses learn beside the student, and calls of a network's own classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.settings import check_positive
from preceptor.networks.blocks import conv_norm_relu


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that takes its running statistics where a channel has a single value.

    One value has no variance: a last batch of one image, pooled to 1×1, would otherwise be an error.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Maps (B, K, h, w) to maps of the same shape."""
        if self.training and input.numel() == input.shape[1]:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        return super().forward(input)


def conv_bn_relu(in_channels: int, out_channels: int, kernel: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution without bias that keeps the size of its maps, batch normalisation and ReLU.

    >>> [type(layer).__name__ for layer in conv_bn_relu(8, 4)]
    ['Conv2d', 'BatchNorm', 'ReLU']
    """
    return conv_norm_relu(in_channels, out_channels, kernel, groups, BatchNorm)


def bottleneck(student_channels: int, teacher_channels: int, most: int | None = None) -> nn.Sequential:
    """The projector of SemCKD (Chen et al. 2021): 1×1, 3×3 and 1×1 convolutions, 2·K_t channels in the middle.

    Args:
        student_channels: K_s.
        teacher_channels: K_t.
        most: channels in the middle at most.

    Raises:
        PreceptorError: ``most`` is not positive.

    >>> bottleneck(8, 16)(torch.rand(2, 8, 4, 4)).shape
    torch.Size([2, 16, 4, 4])
    """
    check_positive(middle_width=2 * teacher_channels if most is None else most)
    middle = 2 * teacher_channels if most is None else min(2 * teacher_channels, most)
    last = nn.Conv2d(middle, teacher_channels, kernel_size=1, bias=False)
    return nn.Sequential(*conv_bn_relu(student_channels, middle), *conv_bn_relu(middle, middle, kernel=3), last)


def batch_embedder(batch_size: int) -> nn.Sequential:
    """Query or key of SemCKD (Chen et al. 2021): two linear layers on a row of the B×B Gram, to B/4 entries.

    >>> batch_embedder(8)(torch.rand(8, 8)).shape
    torch.Size([8, 2])
    """
    size = batch_size // 4
    return nn.Sequential(nn.Linear(batch_size, 2 * size), nn.ReLU(), nn.Linear(2 * size, size))


def classify(classifier: nn.Module, embeddings: Tensor, *, frozen: bool) -> Tensor:
    """Logits of embeddings (…, D) by a network's own classifier, in the precision of the embeddings.

    Args:
        classifier: the last linear layer of a network.
        embeddings: (…, D).
        frozen: whether gradient goes through to the embeddings alone, and none to the classifier's parameters.

    >>> classify(nn.Linear(4, 3), torch.zeros(2, 4), frozen=True).shape
    torch.Size([2, 3])
    """
    state = {
        name: (tensor.detach() if frozen else tensor).to(embeddings.dtype)
        for name, tensor in classifier.named_parameters()
    }
    return torch.func.functional_call(classifier, state, (embeddings,))


def drawn_linear(generator: torch.Generator, in_features: int, out_features: int) -> nn.Linear:
    """A linear layer whose parameters are drawn from a generator: the classifier of an example.

    >>> drawn_linear(torch.Generator(), 4, 3)
    Linear(in_features=4, out_features=3, bias=True)
    """
    layer = nn.Linear(in_features, out_features)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layer
