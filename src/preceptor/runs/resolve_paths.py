"""Where the files lie that a recipe names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preceptor.networks.find_network import find_network
from preceptor.recipe import NetworkConfig, Recipe, TrainedBy


def absolute(recipe: Recipe) -> Recipe:
    """A recipe whose paths still hold when its run is resumed from another folder, or on its own; ``~`` is home.

    Raises:
        PreceptorError: a network's ``run`` is not there, or holds no finished network of that name.
    """
    networks = {}
    for name, network in recipe.networks.items():
        changes: dict[str, str] = {}
        if network.run is not None:
            file = find_network(Path(network.run).expanduser(), name, f"networks.{name}.run")
            changes["run"] = str(file.resolve())
        if network.pretrained not in ("none", "imagenet"):
            changes["pretrained"] = str(Path(network.pretrained).expanduser().resolve())
        plain = network.model_dump()
        if network.trained_by is not None:
            plain["trained_by"] = _stage(network.trained_by)
        networks[name] = NetworkConfig.model_validate({**plain, **changes})
    return recipe.model_copy(update={"networks": networks})


def moved_along(recorded: Path, run: Path) -> Iterator[Path]:
    """Files that a recorded path may mean after a run was moved together with what it uses, the likeliest first.

    The end of the path is looked for below the folders around the run: of a study's cell ``../../shared/NAME/FILE``, of
    runs side by side ``../NAME/FILE``. Whether the content is the recorded one is left to the caller.

    Args:
        recorded: of a network's file, which is not there any more.
        run: the folder of the run that recorded it.
    """
    around = run.resolve().parents[:3]
    for length in (4, 3, 2):  # a longer end that is found says more
        for folder in around:
            file = folder.joinpath(*recorded.parts[-length:])
            if len(recorded.parts) > length and file.is_file():
                yield file


def _stage(stage: TrainedBy) -> dict[str, Any]:
    """Its recipe's file, and the runs and weights that it starts from."""

    def whole(path: str) -> str:
        return str(Path(path).expanduser().resolve())

    named = stage.recipe.endswith((".yaml", ".yml"))
    paths = {key for key in stage.set if key == "teacher" or key.endswith(".run")}
    paths |= {key for key in stage.set if key.endswith("pretrained") and stage.set[key] not in ("none", "imagenet")}
    return {
        "recipe": whole(stage.recipe) if named else stage.recipe,
        "set": {key: whole(value) if key in paths else value for key, value in stage.set.items()},
    }
