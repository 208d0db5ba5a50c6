"""What networks see of an image."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_serializer, model_validator

from preceptor.data.policy import POLICIES, Policy
from preceptor.recipe.section import Section, without_defaults
from preceptor.utils.errors import did_you_mean

#: Exact transforms of a view, from :data:`preceptor.data.views.ORIENTATIONS`.
Transform = Literal["rot90", "rot180", "rot270", "h_flip", "v_flip", "transpose", "antitranspose"]


class View(Section):
    """What a network sees of an image: one draw from a policy (a name or its settings), or another network's draw.

    ``extra_transforms`` shows each image again under exact transforms, every time with a draw of its own: with
    ``[rot90, rot180, rot270]`` a batch of B images becomes 4·B views, the upright ones first (SSKD, Xu et al. 2020).
    They are drawn from the same policy, or from ``extra_policy``, as the strong views of Jin et al. 2023.
    ``mixup`` (Zhang et al. 2018) adds the next image of the batch to each: λ·x + (1-λ)·x', one λ per batch, drawn from
    Beta(α, α) and then max(λ, 1-λ), as in Beyer et al. 2022; 1.0 makes it uniform. Losses that read labels are mixed
    likewise. With several processes each mixes the images of its own share.
    """

    policy: str | Policy | None = None
    same_as: str | None = None
    extra_transforms: Annotated[list[Transform], Field(min_length=1)] | None = None
    extra_policy: str | Policy | None = None
    mixup: Annotated[float, Field(gt=0)] | None = None

    @field_validator("policy", "extra_policy", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in POLICIES:
            raise ValueError(
                f"no policy is called {value!r}.{did_you_mean(value, POLICIES)} Known: {', '.join(POLICIES)}"
            )
        return value

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if not isinstance(value, (str, dict, View)):
            raise ValueError(f"is {value!r}; expected a policy's name, or a mapping with policy or same_as")
        return {"policy": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one(self) -> View:
        if (self.policy is None) == (self.same_as is None):
            raise ValueError("needs either policy or same_as")
        if self.same_as is not None and self.extra_transforms is not None:
            raise ValueError("extra_transforms belongs to the view that has a policy; same_as sees what that one sees")
        if self.extra_policy is not None and self.extra_transforms is None:
            raise ValueError("extra_policy draws the views of extra_transforms: give these too, for instance [h_flip]")
        if self.same_as is not None and self.mixup is not None:
            raise ValueError("mixup belongs to the view that has a policy; same_as sees what that one sees")
        return self

    @model_serializer(mode="wrap")
    def _short(self, handler: Any) -> Any:
        short = isinstance(self.policy, str) and self.extra_transforms is None and self.mixup is None
        return self.policy if short else without_defaults(self, handler(self))

    def resolved(self) -> Policy:
        """The policy itself. Only for a view that has one of its own."""
        assert self.policy is not None
        return _resolved(self.policy)

    @property
    def fixed(self) -> bool:
        """Whether its views are the image in some of its eight orientations. Only for a view with a policy."""
        return self.resolved().fixed and self.extra().fixed

    def extra(self) -> Policy:
        """The policy of the views under extra transforms. Only for a view that has one of its own."""
        return self.resolved() if self.extra_policy is None else _resolved(self.extra_policy)


def _resolved(policy: str | Policy) -> Policy:
    return POLICIES[policy] if isinstance(policy, str) else policy
