"""What losses on similarities of embeddings share."""

from __future__ import annotations

from torch import Tensor, nn

from preceptor.losses.divergence import kl_divergence
from preceptor.losses.maps import unit


def similarity_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL of the softmax over the last dimension of similarities / τ, averaged over the others.

    >>> import torch
    >>> similarity_divergence(torch.eye(3), torch.eye(3), 0.07).item()
    0.0
    """
    ours, theirs = ((rows / temperature).log_softmax(dim=-1) for rows in (student, teacher))
    return kl_divergence(theirs, ours, dim=-1).mean()


def similarity_matrix(activations: Tensor) -> Tensor:
    """(B, B) inner products between the flattened activations (B, …) of images, each row scaled to unit length.

    An image without activations is like none, and passes no gradient on.

    >>> import torch
    >>> similarity_matrix(torch.tensor([[3.0, 0.0], [4.0, 0.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000, 0.0000],
            [0.6000, 0.8000, 0.0000],
            [0.0000, 0.0000, 0.0000]])
    """
    rows = activations.flatten(1)
    return unit(rows @ rows.T)


def linear_head(student_size: int, teacher_size: int) -> nn.Linear:
    """A linear layer from the student's width to the teacher's, its weights truncated normal with deviation 0.02.

    >>> linear_head(8, 16)
    Linear(in_features=8, out_features=16, bias=True)
    """
    head = nn.Linear(student_size, teacher_size)
    nn.init.trunc_normal_(head.weight, std=0.02)
    return head
