"""What a finished run left behind, for those that look at it again."""

from __future__ import annotations

from pathlib import Path

from preceptor.evaluation.array_files import RELATIONS
from preceptor.evaluation.relations import PartRelations
from preceptor.networks.build import build_networks
from preceptor.networks.find_network import find_network
from preceptor.networks.kinds import Network
from preceptor.networks.mean_teacher import MeanTeacher
from preceptor.networks.network_file import load_network
from preceptor.runs.directory import Run
from preceptor.runs.weights import own_networks, refuse_changed_weights, refuse_missing_weights
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError, did_you_mean


def finished_networks(run: Run) -> tuple[dict[str, Network], dict[str, str]]:
    """The networks of a finished run from their files, in evaluation mode and in the recipe's order.

    A frozen network is read from the run that trained it, at this run's image size.

    Returns:
        The networks by name, but for teachers of features, which predict nothing; and the frozen ones whose file is
        gone or no longer fits: what is wrong, by name.

    Raises:
        PreceptorError: the run is unfinished, or a file of its own is missing or damaged.
    """
    run.require_finished()
    recipe, settled = run.recipe, run.settled_networks()
    classes = tuple(run.metrics.classes)
    networks: dict[str, Network] = {}
    lost: dict[str, str] = {}
    for name, network in recipe.networks.items():
        if network.gives_features:
            continue
        if run.network_file(name).is_file() or network.has_own_file:
            networks[name] = _own_network(run, name)
            continue
        try:
            built, _ = build_networks(
                {name: settled[name]}, classes, recipe.image_size, recipe.seed, TASKS[recipe.task].network
            )
        except PreceptorError as error:
            lost[name] = error.what
        else:
            rebuilt = built[name]
            assert not isinstance(rebuilt, MeanTeacher)  # a mean teacher is not frozen
            networks[name] = rebuilt.for_inference()
    return networks, lost


def load_named(model: Path, name: str | None = None, *, choose: str = "network={!r}") -> Network:
    """One network of a finished run in evaluation mode, or the one in a ``.safetensors`` file.

    A frozen network is read from the run that trained it, at this run's image size.

    Args:
        model: the run's folder, or the file.
        name: which network; the student, or the only one that the run wrote a file of, unless given.
        choose: how another network is asked for, with ``{}`` for its name, for messages.

    Raises:
        PreceptorError: no such run or file, or no network of that name in it.
    """
    if model.is_file():
        if model.suffix == ".onnx":
            raise PreceptorError(
                f"{model}: is an ONNX model",
                expected="a run's folder, a .safetensors file, or the folder of an export",
                remedy=f"if an export holds it, name the folder: {model.parent}",
            )  # fmt: skip
        network, header = load_network(model)
        if name is not None and name != header.get("network", model.stem):
            raise PreceptorError(
                f"{model}: holds the network {header.get('network', model.stem)!r}, not {name!r}",
                remedy="leave the name out, or give the run's folder",
            )
        return network
    run = Run(model)
    files = sorted(file.stem for file in model.glob("*.safetensors"))
    written = own_networks(run) if run.finished and "student" not in files else files
    if name is None and ("student" in written or len(written) == 1):
        return _own_network(run, "student" if "student" in written else written[0])
    if not files:
        run.require_finished()
    known = list(run.recipe.networks) if run.finished else files
    if name is None or name not in known:
        wrong = f"has no network {name!r}.{did_you_mean(name, known)}" if name else "has several networks."
        raise PreceptorError(
            f"{model}: {wrong} Networks: {', '.join(known)}",
            remedy=f"name one of them: {' or '.join(choose.format(known_name) for known_name in known)}",
        )
    if run.network_file(name).is_file():
        return _own_network(run, name)
    networks, unavailable = finished_networks(run)
    if name in unavailable:
        raise PreceptorError(f"{model}: {name}: {unavailable[name]}", remedy="put the run that trained it back")
    return networks[name]


def networks_at(model: Path) -> dict[str, tuple[Network, Path]]:
    """The networks of a finished run, or the one in a ``.safetensors`` file, each with its file.

    They are called as their files are, in short: ``kd-0/student``. Frozen networks whose file is gone are left out.

    Raises:
        PreceptorError: neither a finished run nor the file of a network.
    """
    if not model.is_dir():
        if not model.exists():
            raise PreceptorError(f"{model}: no such run or file", expected="a finished run, or one of its .safetensors")
        return {_short(model): (load_network(model)[0], model)}
    run = Run(model)
    settled, networks = run.settled_networks(), {}
    for name, network in finished_networks(run)[0].items():
        file, source = run.network_file(name), settled[name].run
        if not file.is_file() and source is not None:
            file = find_network(Path(source), name, f"networks.{name}.run")
        networks[_short(file)] = (network, file)
    return networks


def add_relations(run: Run, relations: PartRelations, ids: list[str]) -> bool:
    """Gives a run that was finished without them the relations of its test part; whether it lacked them."""
    metrics, figures = run.metrics, relations.plain()
    lacking = [name for name in figures if name in metrics.networks and metrics.networks[name].relations is None]
    if not lacking and (run.path / RELATIONS).is_file():
        return False
    relations.write_matrices(ids, run.path / RELATIONS)
    added = {name: metrics.networks[name].model_copy(update={"relations": figures[name]}) for name in lacking}
    run.write_metrics(metrics.model_copy(update={"networks": {**metrics.networks, **added}}))
    return True


def _own_network(run: Run, name: str) -> Network:
    """A network from the run's own file, which must be the one that the run wrote."""
    refuse_missing_weights(run, name)
    network, _ = load_network(run.network_file(name))
    refuse_changed_weights(run, name)
    return network


def _short(file: Path) -> str:
    return f"{file.resolve().parent.name}/{file.stem}"
