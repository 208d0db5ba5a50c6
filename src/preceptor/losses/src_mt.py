"""SRC-MT: a student agrees with its mean teacher on each image, and on how images relate."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from preceptor.losses.checks import check_class_counts, check_same_shape, check_several_classes
from preceptor.losses.likeness import similarity_matrix
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_choice, check_not_negative
from preceptor.utils.errors import PreceptorError, some_of


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    logits = torch.randn(2, batch, 4, generator=generator)
    student, teacher = torch.randn(2, batch, 6, generator=generator)
    inputs = {"student_logits": logits[0], "teacher_logits": logits[1], "student": student, "teacher": teacher}
    return {"class_counts": torch.tensor([700, 90, 300, 40])}, inputs


@register_loss(
    "src_mt",
    feeds={
        "student_logits": "to.logits",
        "teacher_logits": "from.logits",
        "student": "to.embedding",
        "teacher": "from.embedding",
    },
    trains=("student_logits", "student"),
    facts={"class_counts": "class_counts"},
    relates_images=True,
    example=_example,
)
class SampleRelation(nn.Module):
    """The unsupervised part of SRC-MT (Liu et al. 2020, eqs. 3 to 7), as in the authors' code:

        λ_c · 1/B Σ_b Σ_c ω_c·(p_s - p_t)²   +   λ_r · 1/B Σ_ij (R_s - R_t)²_ij,   ω_c = 10⁴ / n_c

    for probabilities p, and R the B×B Gram of the embeddings, each row scaled to unit length. ω is large (1.5 to 87 for
    ISIC 2018). The authors switch both parts on at epoch 20, at exp(-5(1 - epoch/30)²).

    Args:
        class_counts: (C,) training images n_c of each class; the engine gives it.
        consistency_weight: λ_c ≥ 0.
        relation_weight: λ_r ≥ 0.
        class_weights: ``inverse_frequency`` for ω; ``none`` for 1.

    Raises:
        PreceptorError: a negative weight, unknown class weights, or a class without training images.

    >>> logits, embeddings = torch.zeros(3, 2), torch.rand(3, 8)
    >>> SampleRelation(torch.tensor([90, 10]))(logits, logits, embeddings, embeddings).item()
    0.0
    """

    class_counts: Tensor

    def __init__(
        self,
        class_counts: Tensor,
        consistency_weight: float = 1.0,
        relation_weight: float = 1.0,
        class_weights: Literal["inverse_frequency", "none"] = "inverse_frequency",
    ) -> None:
        super().__init__()
        check_not_negative(consistency_weight=consistency_weight, relation_weight=relation_weight)
        check_choice("class_weights", class_weights, ("inverse_frequency", "none"))
        self.consistency_weight, self.relation_weight = consistency_weight, relation_weight
        class_counts = torch.as_tensor(class_counts)
        empty = [index for index, count in enumerate(class_counts.tolist()) if count <= 0]
        if empty and class_weights == "inverse_frequency":
            raise PreceptorError(
                f"src_mt: classes without training images have no weight: {some_of(empty)}",
                expected="at least one image of every class in the training part",
                remedy="leave these classes out of the data, or set class_weights=none",
            )
        self.class_weights = class_weights
        self.register_buffer("class_counts", class_counts.long(), persistent=False)

    @full_precision
    def forward(self, student_logits: Tensor, teacher_logits: Tensor, student: Tensor, teacher: Tensor) -> Tensor:
        """Scalar.

        Args:
            student_logits: (B, C).
            teacher_logits: (B, C), a constant.
            student: embeddings (B, D).
            teacher: embeddings (B, D), a constant.

        Raises:
            PreceptorError: logits of other classes than those that were counted.
        """
        check_same_shape("src_mt", student_logits=student_logits, teacher_logits=teacher_logits)
        check_class_counts("src_mt", student_logits, self.class_counts)
        check_several_classes("src_mt", student_logits)
        apart = student_logits.softmax(dim=1) - teacher_logits.detach().softmax(dim=1)
        omega = 1e4 / self.class_counts.to(apart.dtype) if self.class_weights == "inverse_frequency" else 1.0
        consistency = (omega * apart.square()).sum() / len(apart)
        relation = (similarity_matrix(student) - similarity_matrix(teacher.detach())).square().sum() / len(apart)
        return self.consistency_weight * consistency + self.relation_weight * relation
