"""Schema of a study plan: which recipes, on what data, in which folds and seeds, against which baseline.

A plan is YAML. Before anything is trained, :func:`preceptor.study.overrides.resolve_plan` applies the command line and,
with ``--quick``, the plan's own ``quick`` section; the result is stored as ``study.yaml``, which is a plan again.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from preceptor.recipe.section import Name, Positive, Section
from preceptor.recipes.messages import as_preceptor_error
from preceptor.utils.errors import PreceptorError, did_you_mean
from preceptor.utils.plain_yaml import dump_yaml, load_yaml
from preceptor.utils.text_files import read_text

Seed = Annotated[int, Field(ge=0)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Settings = dict[str, Any]
#: What a study's folder, or that of another data set in a run, is called.
FolderName = Annotated[Name, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
#: Keys of a recipe that the plan sets itself → where.
RESERVED = {"seed": "seeds", "name": "rows", "paper": "paper"}
#: Keys of the plan that ``key=value`` on the command line may set; ``rows`` names those of the plan that are kept.
SETTABLE = ("rows", "folds", "seeds", "teacher_seed", "threads", "devices", "baseline")


class DataSet(Section):
    """Data of all rows: a reader, its folder (often left to ``--root``), its options, and ids to leave out."""

    reader: str
    root: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    exclude: list[str] = Field(default_factory=list)


class External(DataSet):
    """Other data that every cell is measured on when it is trained.

    ``classes`` names a class of the run, some that are one here, or null (leave its images out) for each class that is
    called otherwise. Images that the study's own data hold too are refused, or left out with ``skip_known``.
    """

    name: FolderName | None = None
    classes: dict[str, str | list[str] | None] = Field(default_factory=dict)
    skip_known: bool = False

    def plain(self) -> dict[str, Any]:
        """Return plain data for YAML, with the classes that are left out."""
        return self.model_dump(exclude_none=True) | {"classes": dict(self.classes)}

    @property
    def title(self) -> str:
        """What it is called in folders and reports: its name, or its reader's."""
        return self.name or self.reader


class Teacher(Section):
    """One teacher for all rows, in place of those that their recipes would train first (``trained_by``)."""

    recipe: str = "teacher"
    set: Settings = Field(default_factory=dict)


class Row(Section):
    """One row of the table: a recipe with overrides, or (``teacher: true``) the plan's teacher itself.

    ``networks`` are those whose metrics the table shows; the first is compared with the baseline. By default the
    ensembles of the recipe, then the networks that it selects epochs by.
    """

    name: Annotated[str, Field(min_length=1)]
    recipe: str | None = None
    teacher: bool = False
    set: Settings = Field(default_factory=dict)
    networks: Annotated[list[str], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _recipe_or_teacher(self) -> Row:
        if (self.recipe is None) != self.teacher:
            raise ValueError("needs either a recipe, or teacher: true (the plan's teacher)")
        if self.teacher and self.set:
            raise ValueError("with teacher: true it is the plan's teacher; its overrides belong to teacher.set")
        return self


class Layout(Section):
    """Columns of the table (metric → heading, in order) and the number of decimals."""

    columns: Annotated[dict[str, str], Field(min_length=1)]
    decimals: Annotated[int, Field(ge=1, le=6)] = 3


class Paper(Section):
    """A published table: its name, its data (a reader's name), and metric → value of each row."""

    table: str
    data: str
    rows: dict[str, dict[str, Ratio]]


class Quick(Section):
    """Changes under ``--quick``: smaller data, fewer rows, folds and seeds, and overrides that shrink every run."""

    data: DataSet | None = None
    folds: list[Seed] | None = None
    seeds: list[Seed] | None = None
    rows: list[str] | None = None
    set: Settings = Field(default_factory=dict)
    teacher: Settings = Field(default_factory=dict)


class Plan(Section):
    """A study: rows × folds × seeds.

    ``folds: 5`` is all of five folds, a list is some of the recipes' own (``split.folds``); ``seeds: 3`` is 0, 1 and 2.
    ``set`` holds overrides for all rows and the teacher. A key that only some recipes have (an argument, or a setting
    of a network, view or objective) is set in those; one that no recipe has is an error. A row's own ``set`` takes
    precedence, and every key of it must exist in the row's recipe.

    ``external`` names other data sets: whether results carry over. A quick form with data of its own has none.

    ``layout`` may be left out: the columns are then the main metrics of the task.

    A teacher that is trained first has the seed of the cell that learns from it, so that the spread over seeds contains
    the teacher's; ``teacher_seed`` gives the cells of all seeds one teacher per fold.

    ``threads`` is the number of CPU threads of a cell. It belongs to the plan because the last bits of a sum depend on
    it: with the same number of threads the metrics are the same for any number of workers, on any engine. By default
    the machine's cores divided by the workers of the first start, which ``study.yaml`` then records. ``devices`` is the
    number of processes (GPUs, where there are some) of each run.
    """

    name: FolderName
    title: str = ""
    about: str = ""
    data: DataSet
    external: list[External] = Field(default_factory=list)
    folds: Annotated[list[Seed], Field(min_length=1)] = Field(default=[0, 1, 2, 3, 4])
    seeds: Annotated[list[Seed], Field(min_length=1)] = Field(default=[0])
    set: Settings = Field(default_factory=dict)
    teacher: Teacher | None = None
    teacher_seed: Seed | None = None
    rows: Annotated[list[Row], Field(min_length=1)]
    baseline: str
    layout: Layout | None = None
    paper: list[Paper] = Field(default_factory=list)
    threads: Positive | None = None
    devices: Positive = 1
    quick: Quick | None = None
    is_quick: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        """``folds: 5``, ``seeds: 3``; ``quick: true`` marks a resolved plan whose results are no evidence."""
        if not isinstance(value, dict):
            return value
        value = dict(value)
        folds = value.get("folds")
        if isinstance(folds, int) and not isinstance(folds, bool) and folds >= 2:
            value["folds"] = list(range(folds))
            settings = value.get("set") or {}  # anything but a mapping is refused below
            value["set"] = {**settings, "split.folds": folds} if isinstance(settings, dict) else settings
        seeds = value.get("seeds")
        if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds >= 1:
            value["seeds"] = list(range(seeds))
        if isinstance(value.get("quick"), bool):
            value["is_quick"] = value.pop("quick")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        names = [row.name for row in self.rows]
        self._refuse_repeated("rows", names)
        self._refuse_repeated("folds", self.folds)
        self._refuse_repeated("seeds", self.seeds)
        self._refuse_unknown_row("baseline", self.baseline, names)
        for table in self.paper:
            for name in table.rows:
                self._refuse_unknown_row(f"paper, {table.table}", name, names)
        self._refuse_repeated("external", [external.title for external in self.external])
        self._refuse_repeated("paper.data", [table.data for table in self.paper])
        if self.teacher is None and any(row.teacher for row in self.rows):
            raise ValueError("rows: a row is the plan's teacher, and the plan has none; give teacher: {recipe: …}")
        if self.row(self.baseline).teacher and self.teacher_seed is not None and self.teacher_seed not in self.seeds:
            raise ValueError(
                f"baseline: {self.baseline!r} is the teacher, of seed {self.teacher_seed} alone, and no other row has "
                "that seed to be paired with it; add it to seeds, or take another baseline"
            )
        for where, settings in self._settings():
            for key in settings:
                if key in RESERVED:
                    raise ValueError(f"{where}.{key}: is set by the plan; see {RESERVED[key]}")
        if self.quick is not None:
            for name in self.quick.rows or []:
                self._refuse_unknown_row("quick.rows", name, names)
            if self.quick.rows is not None and self.baseline not in self.quick.rows:
                raise ValueError(f"quick.rows: the baseline {self.baseline!r} is not among them")
        return self

    def _settings(self) -> list[tuple[str, Settings]]:
        sections = [("set", self.set), *((f"rows.{row.name}.set", row.set) for row in self.rows)]
        if self.teacher is not None:
            sections.append(("teacher.set", self.teacher.set))
        if self.quick is not None:
            sections += [("quick.set", self.quick.set), ("quick.teacher", self.quick.teacher)]
        return sections

    @staticmethod
    def _refuse_repeated(key: str, values: list[Any]) -> None:
        repeated = {str(value) for value in values if values.count(value) > 1}
        if repeated:
            raise ValueError(f"{key}: {', '.join(sorted(repeated))} occurs twice")

    @staticmethod
    def _refuse_unknown_row(key: str, name: str, names: list[str]) -> None:
        if name not in names:
            raise ValueError(f"{key}: there is no row {name!r}.{did_you_mean(name, names)} Rows: {', '.join(names)}")

    @property
    def columns(self) -> dict[str, str]:
        """Metric → heading, of a resolved plan."""
        assert self.layout is not None
        return self.layout.columns

    @property
    def decimals(self) -> int:
        return self.layout.decimals if self.layout is not None else Layout.model_fields["decimals"].default

    @property
    def published(self) -> Paper | None:
        """The published table, where there is one on the same data."""
        return next((table for table in self.paper if table.data == self.data.reader), None)

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def plain(self) -> dict[str, Any]:
        """The plan as plain data for YAML; validating it again gives an equal plan."""
        data = self.model_dump(exclude_none=True)
        data["external"] = [external.plain() for external in self.external]
        if not self.external:
            data.pop("external")
        is_quick = data.pop("is_quick")
        if is_quick or self.quick is None:
            data["quick"] = is_quick
        return data


def shipped() -> dict[str, Path]:
    """The plans that come with the package, by name."""
    return {path.stem: path for path in sorted(Path(str(files("preceptor.study") / "plans")).glob("*.yaml"))}


def read_plan(source: str) -> Plan:
    """Read the shipped plan called ``source``, or the YAML file at that path.

    Recipes that are files are relative to the plan's own folder.

    Raises:
        PreceptorError: no such plan, no YAML, or a key that is unknown or wrong.
    """
    if source.endswith((".yaml", ".yml")) or "/" in source:
        path, where = Path(source).expanduser(), source
        if not path.is_file():
            raise PreceptorError(f"{source}: no such plan", expected="a YAML file, or " + ", ".join(shipped()))
    else:
        known = shipped()
        if source not in known:
            raise PreceptorError(
                f"there is no plan called {source!r}.{did_you_mean(source, known)}",
                expected="a YAML file (PLAN.yaml), or one of " + ", ".join(known),
            )
        path, where = known[source], f"plan {source}"
    expected = "a study's plan in YAML"
    return _beside(validate(load_yaml(read_text(path, expected), where, expected), where), path)


def validate(data: Any, where: str) -> Plan:
    """Validate plain data as a plan; raise one :class:`PreceptorError` that names the key otherwise."""
    if not isinstance(data, dict):
        raise PreceptorError(f"{where}: is not a plan", expected="a mapping with name, data, rows and baseline")
    try:
        return Plan.model_validate(data)
    except ValidationError as error:
        raise as_preceptor_error(error, where, Plan, data) from None


def to_yaml(plan: Plan, more: Mapping[str, Any] | None = None) -> str:
    return dump_yaml({**plan.plain(), **(more or {})})


def _beside(plan: Plan, path: Path) -> Plan:
    def located(recipe: str) -> str:
        is_file = recipe.endswith((".yaml", ".yml"))
        return str((path.parent / Path(recipe).expanduser()).resolve()) if is_file else recipe

    rows = [row.model_copy(update={"recipe": row.recipe and located(row.recipe)}) for row in plan.rows]
    teacher = plan.teacher and plan.teacher.model_copy(update={"recipe": located(plan.teacher.recipe)})
    return plan.model_copy(update={"rows": rows, "teacher": teacher})
