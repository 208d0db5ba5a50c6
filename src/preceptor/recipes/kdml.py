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
from typing import Annotated, Any

from pydantic import Field

from preceptor.recipe import Adam, NetworkConfig, Objective, OneCycle, Positive, Recipe, Select, TrainedBy, View
from preceptor.recipes.registry import register_recipe
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError

PAPER = "Niyaz et al., Computers in Biology and Medicine 2024"
POLICY = "kdml"
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
#: Channels of the last feature map, which the teacher's extra block has to meet: known here so that timm need not be
#: asked, which takes seconds to import.
CHANNELS = {
    "mobilenetv1_100": 1024,
    "mobilenetv2_035": 1280,
    "mobilenetv2_050": 1280,
    "mobilenetv2_100": 1280,
    "resnet10t": 512,
    "resnet18": 512,
    "resnet34": 512,
    "resnet50": 2048,
}


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
    """Registers one of the twelve, with the arguments that it has a use for."""
    said, role = TECHNIQUES[technique]

    def _recipe(
        task: str = "classification",
        backbone: str = "mobilenetv2_050",
        pretrained: str = "none",
        teacher_backbone: str = "mobilenetv2_100",
        teacher_pretrained: str = "imagenet",
        teacher: str | None = None,
        online: bool = role == "online",
        channels: Positive | None = None,
        alpha: Pair = [1.0, 1.0],  # noqa: B006 - pydantic copies it
        beta: Pair = [1.0, 1.0],  # noqa: B006
        gamma: Pair = [1.0, 1.0],  # noqa: B006
        temperature: Temperature = 2.0,
    ) -> Recipe:
        networks = {name: NetworkConfig(backbone=backbone, pretrained=pretrained) for name in STUDENTS}
        if technique != "ml":
            start = NetworkConfig(backbone=teacher_backbone, pretrained=teacher_pretrained)
            networks["teacher"] = _teacher(start, teacher, online, _block(task, backbone, teacher, channels))
        terms = [
            term
            for k, name in enumerate(STUDENTS)
            for term in TASKS[task].default_objectives(name, alpha[k], f"_{k + 1}")
        ]
        if online:
            terms += TASKS[task].default_objectives("teacher", suffix="_teacher")
        for source, student, kind in edges(technique, style):
            weight = (beta if source == "teacher" else gamma)[STUDENTS.index(student)]
            terms.append(_edge(source, student, kind, weight, temperature))
        return Recipe(
            name="kdml",
            task=task,
            batch_size=32,
            networks=networks,
            views={one: View(policy=POLICY) if one == STUDENTS[0] else View(same_as=STUDENTS[0]) for one in networks},
            objectives=[Objective.model_validate(term) for term in terms],
            optimiser=Adam(lr=1e-3, weight_decay=1e-4),
            schedule=OneCycle(),
            select=Select(network=list(STUDENTS), metric=TASKS[task].headline),
            ensembles={"ensemble": list(STUDENTS)},
        )

    _recipe.__doc__ = f"""{said[0].upper()}{said[1:]}; style {style.upper()}: {_in_words(technique, style)}.

    alpha, beta and gamma weigh, for each student, its own loss, what it learns from the teacher and from its peer; the
    paper's are not known, nor are its rates. online=true lets the teacher of kd_ml learn beside the students, from its
    own loss alone. A classifier that teaches has an extra block that brings its map to the students' channels.
    teacher=DIR is a finished teacher that has one; without it it is trained first, under the students' views.
    """
    paper = f"{PAPER}, {_TITLES[technique]} {style.upper()}"
    register_recipe(paper, name=f"{technique}_{style}", without=_idle(technique, style))(_recipe)


def _teacher(start: NetworkConfig, run: str | None, online: bool, block: int | None) -> NetworkConfig:
    if run is not None:
        return NetworkConfig(run=run, frozen=not online)
    start = start.model_copy(update={"map_channels": block})
    if online:
        return start
    # Under the views that it teaches under, which the online teacher sees too.
    stage = TrainedBy(recipe="teacher", set={"views.teacher.policy": POLICY})
    return start.model_copy(update={"frozen": True, "trained_by": stage})


def _block(task: str, backbone: str, run: str | None, channels: int | None) -> int | None:
    """Channels of the extra block of a teacher that is trained here; None where it has no such block.

    Raises:
        PreceptorError: channels are asked for where they change nothing.
    """
    if TASKS[task].network == "classifier" and run is None:
        return channels or _channels(backbone)
    if channels is not None:
        why = "teacher=… is as it was trained" if run is not None else "all U-Nets have as many at that point"
        raise PreceptorError(f"channels={channels} changes nothing: {why}", remedy="leave it out")
    return None


def _idle(technique: str, style: str) -> set[str]:
    """Arguments that a variant has no use for: it does not take them, so that nobody varies what changes nothing."""
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


def _channels(backbone: str) -> int:
    if backbone in CHANNELS:
        return CHANNELS[backbone]
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
