"""How faithfully a student copies its teacher, right or wrong: agreement and divergence of their predictions.

S. Stanton et al., "Does Knowledge Distillation Really Work?", NeurIPS 2021, eqs. (4) and (5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


class FidelityMeter:
    """Takes in what a student and its teacher say batch by batch; holds three sums. Of masks every pixel is a case."""

    def __init__(self) -> None:
        self._cases = 0
        self._with_probabilities = 0  # of these cases
        self._agreed: Tensor | None = None
        self._divergence: Tensor | None = None

    def update(self, student: Tensor, teacher: Tensor) -> None:
        """Counts the cases of a batch.

        Args:
            student: logits (B, C) or (B, C, H, W), or class indices (B,) or (B, H, W), of which there is no divergence.
            teacher: logits (B, C) or (B, C, H, W).

        Raises:
            ValueError: shapes that do not fit.
        """
        decided = not student.is_floating_point()
        fitting = (teacher.shape[0], *teacher.shape[2:]) if decided else teacher.shape
        if teacher.ndim < 2 or student.shape != fitting:
            raise ValueError(f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)}; expected one shape")
        classes = student if decided else student.argmax(1)
        self._cases += classes.numel()
        self._agreed = _more(self._agreed, (classes == teacher.argmax(1)).sum())
        if not decided:
            self._with_probabilities += classes.numel()
            s, t = student.double().log_softmax(1), teacher.double().log_softmax(1)
            self._divergence = _more(self._divergence, (t.exp() * (t - s)).sum())

    def result(self) -> dict[str, float | None]:
        """``agreement``, the share of cases with one predicted class, and ``kl``, mean KL(teacher ‖ student) in nats.

        ``kl`` is None where a student gave classes without probabilities for some cases.

        Raises:
            ValueError: no case was counted.
        """
        if self._agreed is None:
            raise ValueError("there is no case to measure")
        known = self._divergence if self._with_probabilities == self._cases else None
        kl = None if known is None else known.item() / self._cases
        return {"agreement": self._agreed.item() / self._cases, "kl": kl}


def fidelity_record(measured: Mapping[str, Mapping[str, float | None]]) -> dict[str, Any]:
    """Return what ``metrics.json`` holds of a network's fidelity to each of its teachers; nothing without a teacher.

    Args:
        measured: teacher → what :func:`fidelity` returns, the first teacher first.

    >>> fidelity_record({"t1": {"agreement": 0.9, "kl": 0.1}, "t2": {"agreement": 0.8, "kl": 0.2}})["fidelity"]
    {'to': 't1', 'agreement': 0.9, 'kl': 0.1, 'others': {'t2': {'agreement': 0.8, 'kl': 0.2}}}
    """
    if not measured:
        return {}
    first, *rest = measured
    others = {"others": {name: dict(measured[name]) for name in rest}} if rest else {}
    return {"fidelity": {"to": first, **measured[first], **others}}


def _more(total: Tensor | None, value: Tensor) -> Tensor:
    return value if total is None else total + value


def fidelity(student: ArrayLike, teacher: ArrayLike) -> dict[str, float | None]:
    """The same from probabilities (N, C), as ``predictions.csv`` holds them.

    A student's probability of zero, which text or a softmax may round to, counts as the smallest normal number, so that
    ``kl`` stays finite.

    Raises:
        ValueError: no case, or shapes that differ.
    """
    s, t = (np.asarray(values, dtype=np.float64) for values in (student, teacher))
    if s.shape != t.shape or s.ndim != 2 or not len(s):
        raise ValueError(f"student {s.shape} and teacher {t.shape}; expected one shape (N, C)")
    meter = FidelityMeter()
    floor = np.finfo(np.float64).tiny
    meter.update(*(torch.from_numpy(np.log(np.maximum(values, floor))) for values in (s, t)))
    return meter.result()
