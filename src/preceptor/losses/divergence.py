"""The Kullback-Leibler divergence of two distributions that are given as logarithms."""

from __future__ import annotations

from torch import Tensor


def kl_divergence(log_p: Tensor, log_q: Tensor, dim: int) -> Tensor:
    """KL(p ‖ q) = Σ_i p_i·(log p_i - log q_i) along a dimension, which falls away.

    Args:
        log_p: log-probabilities of the reference (in distillation the teacher's), finite, of any shape.
        log_q: log-probabilities of what approximates it (the student's), of the same shape.
        dim: along which the probabilities sum to one.

    >>> import torch
    >>> teacher, student = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    >>> kl_divergence(teacher, student, dim=1)  # log(2)/2 + log(2/3)/2
    tensor([0.1438])
    """
    return (log_p.exp() * (log_p - log_q)).sum(dim=dim)
