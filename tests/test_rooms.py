"""The order of rooms: imports point down only, and every room says what it holds and never knows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import preceptor

SOURCE = Path(preceptor.__file__).parent
#: From the top down; a room may import itself and what stands below it. Rooms of one line are on one floor.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("demo",),
    ("api",),
    ("report",),
    ("study", "tune"),
    ("deploy",),
    ("runs",),
    ("training",),
    ("recipes",),
    ("tasks",),
    ("evaluation",),
    ("testing",),
    ("losses",),
    ("networks",),
    ("recipe",),
    ("data",),
    ("utils", "version"),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ROOMS = sorted(path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file())


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the room of every import of ours, those inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        modules = []
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            modules = [f"{node.module}.{name.name}" for name in node.names]
        elif isinstance(node, ast.Import):
            modules = [name.name for name in node.names]
        for module in modules:
            package, _, rest = module.partition(".")
            if package == "preceptor" and rest:
                yield node.lineno, rest.split(".")[0]


def test_imports_point_down() -> None:
    upward = []
    for file in sorted(SOURCE.rglob("*.py")):
        room = file.relative_to(SOURCE).parts[0].removesuffix(".py")
        if room == "__init__":  # the package itself offers what is above
            continue
        for line, other in imports(file):
            beside = FLOOR.get(other) == FLOOR[room] and other != room
            if other in FLOOR and (FLOOR[other] < FLOOR[room] or beside):
                upward.append(f"{file.relative_to(SOURCE)}:{line}: {room} imports {other}")
    assert not upward, "\n".join(upward)


def test_every_room_has_its_place_and_says_what_it_is() -> None:
    assert set(ROOMS) <= set(FLOOR)
    short = [
        room
        for room in ROOMS
        if len((ast.get_docstring(ast.parse((SOURCE / room / "__init__.py").read_text("utf-8"))) or "").split()) < 20
    ]
    assert not short, f"rooms without a docstring that says what they hold, may import and never know: {short}"


#: File names that occur in several rooms, and the one meaning that they have in each.
SHARED = {
    "calibration": "probabilities against frequencies",
    "checks": "refusals before anything is trained",
    "classification": "the task of one class per image",
    "data": "a data set as named on the command line",
    "demo": "the command and what it runs",
    "doctor": "what is installed and what the machine has",
    "evaluate": "measuring networks on labelled images",
    "init": "from images on disk to a recipe and a plan",
    "layers": "CKA of layers",
    "multi_label": "the task of several labels per image",
    "operating_points": "sensitivity and specificity at chosen thresholds",
    "ordinal": "the task of grades in order",
    "overlays": "masks over test images",
    "overrides": "key=value over a recipe or plan",
    "registry": "named things that others may add to",
    "relations": "similarity matrices of embeddings",
    "serve": "an export behind HTTP",
    "settings": "values that a loss or recipe is given",
    "subgroups": "metrics by attribute",
    "tables": "rows and columns of files and pages",
    "worker": "what one process does",
}


def test_no_file_name_means_two_things() -> None:
    places: dict[str, set[str]] = {}
    for file in SOURCE.rglob("*.py"):
        places.setdefault(file.stem, set()).add(file.relative_to(SOURCE).parts[0])
    twice = {name: sorted(rooms) for name, rooms in places.items() if len(rooms) > 1 and name != "__init__"}
    assert not {name: rooms for name, rooms in twice.items() if name not in SHARED}
