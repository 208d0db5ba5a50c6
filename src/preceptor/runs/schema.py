"""What the JSON files of a run say, as typed records with a format number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from preceptor.recipe import ForwardMode
from preceptor.runs.shapes import Cost, PartResult, Relations, shaped
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError

#: Of ``environment.json`` and ``metrics.json``. Format 1 had no number in ``environment.json``, no hash of the recipe
#: and no checksums.
FORMAT = 2
FORMATS = (1, FORMAT)
_LONGEST = 18  # digits of an integer, which then fits 64 bits


class Record(BaseModel):
    """One JSON object; keys that this version does not know are kept."""

    model_config = ConfigDict(extra="allow")

    def plain(self) -> dict[str, Any]:
        """Return what JSON holds: the keys that were given, nothing that is only a default."""
        return self.model_dump(mode="json", exclude_unset=True)


class DataRecord(Record):
    """The data that a run was trained on.

    Attributes:
        name: the reader.
        root: the folder or table that it read; None for the phantom's own place.
        fingerprint: of the catalog (:meth:`preceptor.data.catalog.Catalog.fingerprint`).
        pixels: of the decoded images (:attr:`preceptor.data.cache.Pixels.digest`); empty where it was not taken.
        fold: which of ``folds`` is the test part, from 0.
        excluded: ids that were left out.
        notes: what the reader noted about this copy.
    """

    name: str
    root: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    fingerprint: str
    pixels: str = ""
    fold: int
    folds: int
    images: int
    classes: list[str]
    excluded: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)


class ModeRecord(Record):
    """The mode that ``precision: auto`` has chosen for a network, and what it was chosen by.

    Attributes:
        mode: as a recipe names it under ``precision``, such as ``bf16+folded``.
        seconds: of one pass over a batch, by mode.
        errors: largest relative error of an output against float32, by mode; None where there was no finite output.
        refused: modes whose error was beyond the tolerance.
        tolerance: of that error.
    """

    mode: str
    seconds: dict[str, float]
    errors: dict[str, float | None]
    refused: list[str]
    tolerance: float

    @field_validator("mode")
    @classmethod
    def _known(cls, mode: str) -> str:
        return str(ForwardMode.parse(mode))


class Environment(Record):
    """``environment.json``: on what, where and how a run was started.

    Attributes:
        threads: CPU threads of the process that started it.
        processes: that share each batch.
        precision: what the recipe asks for; of runs before version 0.2 Fabric's name for it.
        modes: what ``precision: auto`` has chosen for each network, once the first epoch begins.
        starts: where the weights of each network came from, in words.
        split_hash: of ``split.csv`` (:func:`preceptor.data.split.split_hash`).
        recipe_hash: of ``recipe.yaml``; empty in format 1.
        source_hashes: SHA-256 of the files of networks that are taken from other runs, by network; runs of before have
            none.
        marked: what must be said wherever the run is shown, as of a quick study.
        imports: Python files given with ``--import``, which register what the recipe names.
        import_hashes: SHA-256 of these files; runs of before have none.
    """

    format: int = 1
    versions: dict[str, str] = Field(default_factory=dict)
    device: str = "unknown"
    machine: str = ""
    threads: Annotated[int, Field(ge=1)]
    processes: Annotated[int, Field(ge=1)]
    precision: str = "unknown"
    modes: dict[str, ModeRecord] = Field(default_factory=dict)
    seed: int
    command: str = "unknown"
    started: str = "unknown"
    starts: dict[str, str] = Field(default_factory=dict)
    data: DataRecord
    split_hash: str
    recipe_hash: str = ""
    source_hashes: dict[str, str] = Field(default_factory=dict)
    marked: str = ""
    imports: list[str] = Field(default_factory=list)
    import_hashes: dict[str, str] = Field(default_factory=dict)

    @property
    def precision_in_use(self) -> str:
        """The precision that the recipe asks for, with the modes that were chosen where it leaves the choice."""
        chosen = ", ".join(f"{name} {record.mode}" for name, record in self.modes.items())
        return f"{self.precision} ({chosen})" if chosen else self.precision


class NetworkResult(Record):
    """What one network, or one ensemble, is and how it did.

    Attributes:
        role: ``trained``, ``frozen teacher``, ``mean teacher``, ``head trained``, ``classifier trained``
            (a linear probe) or ``ensemble``.
        backbone: a timm name; of an ensemble its members.
        start: where its weights came from, in words.
        cost: see :func:`preceptor.evaluation.cost.cost_of`.
        validation: metric → value on the validation part; None under ``protocol: paper``.
        test: metric → value on the test part.
        relations: see :mod:`preceptor.evaluation.relations`.
        sha256: of its file; None where it has none in this run, and in format 1.
        selected_epoch: whose weights were kept, from 1, where each network has its own.
        temperature: that divided its logits where it taught; None unless it was calibrated.
    """

    role: str = "trained"
    backbone: str
    start: str = "unknown"
    cost: Annotated[dict[str, Any] | None, AfterValidator(shaped(Cost))] = None
    validation: Annotated[dict[str, Any] | None, AfterValidator(shaped(PartResult))] = None
    test: Annotated[dict[str, Any], AfterValidator(shaped(PartResult))]
    relations: Annotated[dict[str, Any] | None, AfterValidator(shaped(Relations))] = None
    sha256: str | None = None
    selected_epoch: int | None = None
    temperature: float | None = None


class Metrics(Record):
    """``metrics.json``: what a finished run measured.

    Attributes:
        classes: that the networks tell apart; of masks the background first.
        epochs: that the recipe asked for; ``epochs_run`` were trained.
        selected_epoch: whose weights were kept, from 1; None under ``protocol: paper``, and where each network has its
            own.
        selected_by: the monitored value that chose it, such as ``validation/student/balanced_accuracy``.
        mean_of_last_epochs: under ``protocol: paper``, over how many epochs figures are averaged.
        parts: images of each part.
        masks_cut_at_half: masks with grey values at the border, made binary; None where there are no masks.
    """

    format: int
    task: str
    protocol: str
    classes: Annotated[list[str], Field(min_length=1)]
    epochs: int
    epochs_run: int
    selected_epoch: int | None = None
    selected_by: str | None = None
    mean_of_last_epochs: int | None = None
    early_stopped: bool = False
    training_seconds: float
    parts: dict[str, int] = Field(default_factory=dict)
    masks_cut_at_half: int | None = None
    networks: Annotated[dict[str, NetworkResult], Field(min_length=1)]

    @model_validator(mode="after")
    def _metrics_are_numbers(self) -> Metrics:
        if self.task not in TASKS:
            return self  # whoever asks for the task says that there is none
        task = TASKS[self.task]
        needed = ("test", task.headline)  # by which reports rank the networks
        for name, result in self.networks.items():
            for part, values in (("test", result.test), ("validation", result.validation or {})):
                for key in [key for key in task.metrics if key in values]:
                    value = values[key]
                    if not isinstance(value, int | float | None) or (value is None and (part, key) == needed):
                        raise ValueError(f"networks.{name}.{part}.{key} is {str(value)[:60]!r}, which is not a number")
        return self


R = TypeVar("R", bound=Record)


def read_record(path: Path, kind: type[R], remedy: str) -> R:
    """Read one JSON file of a run.

    Args:
        remedy: what to do about a damaged file.

    Raises:
        PreceptorError: the file is missing, damaged, of another format or another kind of file; names file and key.
    """
    content = read_json(path, remedy)
    if not isinstance(content, dict):
        raise PreceptorError(f"{path}: holds a {type(content).__name__}", expected="keys and values", remedy=remedy)
    number = content.get("format", 1)
    if number not in FORMATS:
        raise PreceptorError(
            f"{path}: the format is {number!r}",
            expected=f"format {' or '.join(map(str, FORMATS))}",
            remedy="use the version of Preceptor that wrote it (environment.json names it)",
        )
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
        key, expected = ".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Input should be ")
        what = f"lacks {key}" if fault["type"] == "missing" else f"{key} is {str(fault['input'])[:60]!r}"
        if fault["type"] == "value_error":
            what, expected = f"{key}{': ' if key else ''}{fault['ctx']['error']}", ""
        raise PreceptorError(f"{path}: {what}", expected=expected, remedy=remedy) from None


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def read_json(path: Path, remedy: str) -> Any:
    """Read a JSON file. Raises :class:`PreceptorError`, which names it, when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_int=_integer)
    except FileNotFoundError:
        raise PreceptorError(f"{path} is missing", expected="a whole run directory", remedy=remedy) from None
    except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise PreceptorError(f"{path}: cannot be read as JSON ({error})", remedy=remedy) from None
    except OSError as error:
        raise PreceptorError(f"{path}: cannot be read ({error.strerror})", remedy=remedy) from None
