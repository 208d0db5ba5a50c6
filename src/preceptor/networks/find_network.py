"""Which file of a finished run holds a network; loads no torch."""

from __future__ import annotations

from pathlib import Path

from preceptor.utils.errors import PreceptorError


def find_network(run: Path, name: str, key: str, *, choose: str | None = None) -> Path:
    """The file of network ``name`` in a finished run, or its only network; ``run`` may be the file itself.

    Args:
        key: what named the run, for messages: an override such as ``networks.teacher.run``, or an argument.
        choose: how another network is asked for, with ``{}`` for its name, as in ``--network {}``; ``key=FILE`` if
            None.

    Raises:
        PreceptorError: no such run, one that is not finished, or one of several networks with other names.
    """
    if run.is_file():
        return run
    if not run.is_dir():
        raise PreceptorError(
            f"{key}: there is no run at {run}", expected="a finished run's folder, or a .safetensors file"
        )
    files = sorted(run.glob("*.safetensors"))
    if not files:
        raise PreceptorError(
            f"{key}: {run} holds no finished network (*.safetensors)",
            remedy=f"finish it first: preceptor resume {run}. Or, where it is finished and was copied without its "
            "weights, copy them too, or remove this folder and train it again",
        )
    named = [path for path in files if path.stem == name]
    if not named and len(files) > 1:
        ways = [choose.format(path.stem) if choose else f"{key}={path}" for path in files]
        raise PreceptorError(
            f"{key}: {run} holds {', '.join(path.stem for path in files)}, none called {name!r}",
            remedy=f"name one of them: {' or '.join(ways)}",
        )
    return (named or files)[0]
