"""Distillation and mutual learning with learning styles: one teacher, two students who learn different things.

U. Niyaz, A. S. Sambyal, D. R. Bathula, "Leveraging different learning styles for improved knowledge distillation in
biomedical imaging", Computers in Biology and Medicine 2024 (arXiv 2212.02931). Four techniques say who learns from
whom, three styles what is learned on each of those edges, predictions (P) or features (F); the twelve recipes
``{ml,kd_off,kd_on,kd_ml}_{v1,v2,v3}`` are made from the two tables below, eqs. (6), (7), (9) and (10):

    L_k = α_k·L_task + β_k·L(teacher → k) + γ_k·L(peer → k)

P is T²·KL of the predictions at T = 2, F the mean squared error of feature maps: the last one of a classifier, the
first decoder block's of a U-Net. Whoever is learned from gets no gradient by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field

from preceptor.recipe import NetworkConfig, Objective, Positive, Recipe, Select, View
from preceptor.recipes.distillation import for_task, trained_teacher
from preceptor.recipes.registry import register_recipe
from preceptor.recipes.settings import SETTINGS, SettingName
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError

PAPER = "Niyaz et al., Computers in Biology and Medicine 2024"
POLICY = "kdml"
Preset = Literal["ours", "paper"]
Temperature = Annotated[float, Field(gt=0)]
Pair = Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2)]

STUDENTS = ("student_1", "student_2")
#: technique -> what it is, and who takes part in it besides the students.
TECHNIQUES = {
    "ml": ("two students learn from each other", "nobody"),
    "kd_off": ("two students learn from a teacher that was trained first", "frozen"),
    "kd_on": ("two students learn from a teacher that learns beside them", "online"),
    "kd_ml": ("two students learn from a teacher and from each other", "frozen"),
}
#: style -> what student 1 and student 2 learn, from the teacher or from the peer.
STYLES = {"v1": "PP", "v2": "FF", "v3": "PF"}
#: KD + ML crosses V3: student 1 takes features of the teacher beside its peer's predictions, student 2 the reverse.
CROSSED = {"v1": "PP", "v2": "FF", "v3": "FP"}
_TITLES = {"ml": "ML", "kd_off": "KD (off)", "kd_on": "KD (on)", "kd_ml": "KD + ML"}


def edges(technique: str, style: str) -> Iterator[tuple[str, str, str]]:
    """(from, to, ``P`` or ``F``) of every edge of a variant."""
    of_teacher = CROSSED if technique == "kd_ml" else STYLES
    for number, student in enumerate(STUDENTS):
        peer = STUDENTS[1 - number]
        if technique != "ml":
            yield "teacher", student, of_teacher[style][number]
        if technique in ("ml", "kd_ml"):
            yield peer, student, STYLES[style][number]


def _variant(technique: str, style: str) -> None:
    """Register one of the twelve recipes, with the arguments that apply to it."""
    summary, role = TECHNIQUES[technique]

    def _recipe(
        task: str = "classification",
        preset: Preset = "ours",
        backbone: str | None = None,
        pretrained: str | None = None,
        teacher_backbone: str | None = None,
        teacher_pretrained: str | None = None,
        teacher: str | None = None,
        online: bool = role == "online",
        channels: Positive | None = None,
        alpha: Pair = [1.0, 1.0],  # noqa: B006 - pydantic copies it
        beta: Pair = [1.0, 1.0],  # noqa: B006
        gamma: Pair = [1.0, 1.0],  # noqa: B006
        temperature: Temperature = 2.0,
    ) -> Recipe:
        whose: SettingName = "kdml" if preset == "paper" else "ours"
        setting = SETTINGS[whose]
        small = NetworkConfig(backbone=backbone or setting.student[0], pretrained=pretrained or setting.student[1])
        networks = dict.fromkeys(STUDENTS, small)
        if technique != "ml":
            start = NetworkConfig(
                backbone=teacher_backbone or setting.teacher[0], pretrained=teacher_pretrained or setting.teacher[1]
            )
            block = _block(task, str(small.backbone), teacher, channels)
            networks["teacher"] = _teacher(start, teacher, online, block, whose)
        terms = [
            term
            for k, name in enumerate(STUDENTS)
            for term in TASKS[task].default_objectives(name, alpha[k], f"_{k + 1}")
        ]
        if online:
            terms += TASKS[task].default_objectives("teacher", suffix="_teacher")
        for source, student, kind in edges(technique, style):
            weight = (beta if source == "teacher" else gamma)[STUDENTS.index(student)]
            terms.append(for_task(_edge(source, student, kind, weight, temperature), task))
        select = Select(
            network=list(STUDENTS), metric=TASKS[task].headline, epoch="each" if preset == "paper" else "joint"
        )
        return Recipe(
            name="kdml",
            task=task,
            networks=networks,
            views={
                member: View(policy=POLICY) if member == STUDENTS[0] else View(same_as=STUDENTS[0])
                for member in networks
            },
            objectives=[Objective.model_validate(term) for term in terms],
            ensembles={"ensemble": list(STUDENTS)},
            **{**setting.training, "select": select},
        )

    _recipe.__doc__ = f"""{summary[0].upper()}{summary[1:]}; style {style.upper()}: {_in_words(technique, style)}.

    preset=paper has ImageNet networks, ResNet50 and two ResNet18 (backbone=mobilenetv1_100 for its other student), one
    rate for all, parts of 75:10:15, and for each network the epoch that is its own best. alpha, beta and gamma weigh,
    for each student, its own loss, what it learns from the teacher and from its peer; the paper's are not known.
    online=true lets the teacher of kd_ml learn beside the students, from its own loss alone. A classifier that teaches
    has an extra block that brings its map to the students' channels.
    teacher=DIR is a finished teacher that has one; without it it is trained first, under the students' views.
    """
    paper = f"{PAPER}, {_TITLES[technique]} {style.upper()}"
    register_recipe(paper, name=f"{technique}_{style}", without=_idle(technique, style))(_recipe)


def _teacher(
    start: NetworkConfig, run: str | None, online: bool, block: int | None, setting: SettingName
) -> NetworkConfig:
    if run is not None:
        return NetworkConfig(run=run, frozen=not online)
    start = start.model_copy(update={"map_channels": block})
    if online:
        return start
    # Under the views that it teaches under, which the online teacher sees too.
    stage = trained_teacher(setting, **{"views.teacher.policy": POLICY})
    return start.model_copy(update={"frozen": True, "trained_by": stage})


def _block(task: str, backbone: str, run: str | None, channels: int | None) -> int | None:
    """Channels of the extra block of a teacher that is trained here; None where it has no such block.

    Raises:
        PreceptorError: channels are asked for where they change nothing.
    """
    if not TASKS[task].needs_masks and run is None:
        return channels or _channels(backbone)
    if channels is not None:
        why = "teacher=… is as it was trained" if run is not None else "all U-Nets have as many at that point"
        raise PreceptorError(f"channels={channels} changes nothing: {why}", remedy="leave it out")
    return None


def _idle(technique: str, style: str) -> set[str]:
    """Arguments that have no effect in a variant, which therefore does not accept them."""
    kinds = {kind for _, _, kind in edges(technique, style)}
    idle = set() if technique == "kd_ml" else {"online"}
    if technique == "ml":
        idle |= {"teacher", "teacher_backbone", "teacher_pretrained", "channels", "beta"}
    elif technique != "kd_ml":
        idle |= {"gamma"}
    return idle if "P" in kinds else idle | {"temperature"}


def _edge(source: str, student: str, kind: str, weight: float, temperature: float) -> dict[str, Any]:
    short = {"student_1": "1", "student_2": "2"}.get
    name = f"{short(source, source)}_to_{short(student)}"
    common = {"from": source, "to": student, "weight": weight}
    if kind == "P":
        return {"loss": "kl", "name": f"predictions_{name}", **common, "temperature": temperature}
    return {"loss": "feature_mse", "name": f"features_{name}", **common}


@cache
def _channels(backbone: str) -> int:
    """K of a backbone's last feature map. timm is asked, which takes seconds to import, when it is needed first."""
    from preceptor.networks.classifier import map_channels_of

    return map_channels_of(backbone)


def _in_words(technique: str, style: str) -> str:
    words = {"P": "predictions", "F": "features"}
    learned = {
        student: " and ".join(
            f"{words[kind]} of {'the teacher' if source == 'teacher' else 'its peer'}"
            for source, who, kind in edges(technique, style)
            if who == student
        )
        for student in STUDENTS
    }
    return "; ".join(f"student {student[-1]} learns {what}" for student, what in learned.items())


for _technique in TECHNIQUES:
    for _style in STYLES:
        _variant(_technique, _style)
