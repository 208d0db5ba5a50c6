"""What losses on similarities of embeddings share."""

from __future__ import annotations

from torch import Tensor, nn


def similarity_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL of the softmax over the last dimension of similarities / τ, averaged over the others.

    >>> import torch
    >>> similarity_divergence(torch.eye(3), torch.eye(3), 0.07).item()
    0.0
    """
    ours, theirs = ((rows / temperature).log_softmax(dim=-1) for rows in (student, teacher))
    return (theirs.exp() * (theirs - ours)).sum(dim=-1).mean()


def linear_head(student_size: int, teacher_size: int) -> nn.Linear:
    """A linear layer from the student's width to the teacher's, its weights truncated normal with deviation 0.02.

    >>> linear_head(8, 16)
    Linear(in_features=8, out_features=16, bias=True)
    """
    head = nn.Linear(student_size, teacher_size)
    nn.init.trunc_normal_(head.weight, std=0.02)
    return head
