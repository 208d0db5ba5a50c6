"""What a row says in vain of a network, because the plan's teacher takes that network's place."""

from __future__ import annotations

from typing import Any

from preceptor.errors import PreceptorError
from preceptor.recipe import Recipe
from preceptor.recipe.network import Network
from preceptor.recipes.resolve import resolve
from preceptor.study.plan import Settings

#: What a network that comes from a run has from there.
_DECIDED = ("backbone", "pretrained", "bottleneck", "map_channels", "dropout")
#: What the plan's teacher takes over from the stage in whose place it is trained.
_TAKEN = ("seed", "protocol", "split.")


def in_vain(key: str, source: str, settings: Settings) -> bool:
    """Whether a key of a row's settings changes nothing but a network that the plan's teacher replaces.

    Args:
        source: the row's recipe.
        settings: all of the row's, ``key`` among them.
    """
    section, _, rest = key.partition(".")
    if (section != "networks" and key in Recipe.model_fields) or section in ("views", "objectives"):
        return False  # no network's
    recipe = resolve(source, settings)
    name, _, field = rest.partition(".")
    if section == "networks" and field in _DECIDED:
        return recipe.networks[name].trained_by is not None
    try:
        without = resolve(source, {one: value for one, value in settings.items() if one != key})
    except PreceptorError:
        return False  # other settings stand on it
    return without != recipe and _seen(without) == _seen(recipe)


def _seen(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe a study looks at that has a teacher of its own."""
    networks = {name: _seen_of(network) for name, network in recipe.networks.items()}
    return recipe.plain() | {"networks": networks}


def _seen_of(network: Network) -> dict[str, Any]:
    said = network.model_dump()
    stage = network.trained_by
    if stage is None:
        return said
    said = {key: value for key, value in said.items() if key not in _DECIDED}
    if not any(one.trained_by for one in resolve(stage.recipe).networks.values()):
        said["trained_by"] = {key: value for key, value in stage.set.items() if key.startswith(_TAKEN)}
    return said
