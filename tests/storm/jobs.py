"""The commands that are killed: small enough for seconds, and of every kind that trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Knobs of the phantom that all jobs are trained on.
KNOBS = {"images": 160, "size": 32, "imbalance": 2.0, "hair": 0.1}
#: At less the maps of `explain` have one cell, and it refuses.
SMALL = ("image_size=64", "batch_size=32", "epochs=3")
STUDENT = ("networks.student.backbone=test_efficientnet", "networks.student.pretrained=none")
TEACHER = ("networks.teacher.backbone=test_resnet", "networks.teacher.pretrained=none")
_PEERS = ("teacher_backbone=test_resnet", "backbone=test_efficientnet", "pretrained=none", "teacher_pretrained=none")
SEARCHED = ("objectives.kl.weight=log(0.1,10)", "--trials", "3")
PLAN = """\
name: storm
data: {reader: phantom}
folds: [0]
set:
  image_size: 64
  batch_size: 32
  epochs: 2
  networks.student.backbone: test_efficientnet
  networks.student.pretrained: none
rows:
  - {name: alone, recipe: student}
  - {name: KD, recipe: kd, set: {networks.teacher.backbone: test_resnet, networks.teacher.pretrained: none}}
baseline: alone
layout: {columns: {accuracy: ACC}}
"""


@dataclass(frozen=True)
class Job:
    """A command whose output is the folder ``run`` below the folder that it is started in.

    Attributes:
        words: of the command line, without ``--root``.
        resumable: whether ``preceptor resume run`` continues it; if not, the same command does.
    """

    name: str
    words: Sequence[str]
    resumable: bool = True

    def command(self, folder: Path, root: Path) -> list[str]:
        """The words to start it, or to continue what stands in ``folder``."""
        if self.resumable and (folder / "run" / "environment.json").is_file():
            return ["resume", "run", "--cache", "cache"]
        return [*self.words, "--root", str(root), "--out", "run", "--cache", "cache"]

    def finished(self, folder: Path) -> bool:
        """Whether nothing is left to be done: the last file that the command writes is there."""
        return (folder / "run" / ("report.html" if self.name != "search" else "best.yaml")).is_file()


def _training(name: str, recipe: str, *words: str) -> Job:
    return Job(name, ("train", recipe, "--data", "phantom", *SMALL, *words))


JOBS = (
    _training("crckd", "crckd", "networks.student.backbone=test_resnet", "networks.student.pretrained=none"),
    _training("kd", "kd", *TEACHER, *STUDENT),
    _training("ssd_kd", "ssd_kd", *TEACHER, *STUDENT),
    _training("kd_ml_v3 segmentation", "kd_ml_v3", "--task", "segmentation", *_PEERS),
    Job("study", ("study", "plan.yaml", "--workers", "1"), resumable=False),
    Job(
        "search",
        ("tune", "kd", *SEARCHED, "--data", "phantom", *SMALL, *TEACHER, *STUDENT),
        resumable=False,
    ),
)


def prepare_folder(folder: Path) -> None:
    """Make the folder that a job starts in."""
    folder.mkdir(parents=True)
    (folder / "plan.yaml").write_text(PLAN, encoding="utf-8")
