"""Which test images a page shows with outlines: the same of all runs, and what it says of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from preceptor.evaluation.examples import choose_cases, ids_to_keep
from preceptor.evaluation.masks import MaskMeter
from preceptor.evaluation.overlays import as_jpeg, save_overlays
from preceptor.recipe import Recipe
from preceptor.report.entries import Entry, LabelledRun
from preceptor.report.outlines import outline
from preceptor.report.overlays import OverlaySection, overlay_sections
from preceptor.runs.directory import Run
from preceptor.runs.schema import Environment, Metrics
from preceptor.utils.errors import PreceptorError

SIDE, NAMES = 12, ("none", "core", "edge")


def squares(seed: int, images: int, classes: int) -> NDArray[np.uint8]:
    """Masks of one square each (of another class inside, where there are three), none in every seventh."""
    draw = np.random.default_rng(seed)
    masks = np.zeros((images, SIDE, SIDE), np.uint8)
    for place, mask in enumerate(masks):
        top, left, side = draw.integers(0, 5), draw.integers(0, 5), draw.integers(2, 7)
        mask[top : top + side, left : left + side] = 1
        mask[top + 1 : top + side - 1, left + 1 : left + side - 1] = classes - 1
        mask *= (place + seed) % 7 != 0
    return masks


def made_up(
    folder: Path, seed: int, images: int = 30, classes: int = 2, networks: tuple[str, ...] = ("s",)
) -> LabelledRun:
    """A run whose networks drew at random, with its file of masks."""
    path = folder / f"run{seed}"
    path.mkdir()
    ids = [f"i{place:03}" for place in range(images)]
    truth, frames, masks = squares(0, images, classes), [], {}
    for index, name in enumerate(networks):
        masks[name] = squares(10 * seed + index, images, classes)
        meter = MaskMeter(NAMES[:classes])
        meter.update(*(torch.from_numpy(mask).long() for mask in (masks[name], truth)))
        frames.append(meter.rows(ids, part="test", network=name))
    kept = [ids.index(name) for name in ids_to_keep(ids)]
    pictures = [as_jpeg(np.full((SIDE, SIDE, 3), 99, np.uint8)) for _ in kept]
    text = {name: values[kept] for name, values in masks.items()}
    save_overlays(path / "overlays.npz", [ids[place] for place in kept], pictures, truth[kept], text)
    return LabelledRun.of(
        Run(path),
        path.name,
        recipe=Recipe.model_construct(image_size=SIDE),
        environment=Environment.model_construct(split_hash="x"),
        metrics=Metrics.model_construct(task="segmentation", networks=dict.fromkeys(networks), classes=NAMES[:classes]),
        predictions=pd.concat(frames),
    )


def sections_of(*runs: LabelledRun) -> list[OverlaySection]:
    pairs = [(run, name) for run in runs for name in run.metrics.networks]
    return overlay_sections([Entry(run, name, f"{run.label} {name}", place) for place, (run, name) in enumerate(pairs)])


def shown(section: OverlaySection) -> list[tuple[str, str]]:
    """(why, id) of each figure."""
    return [(why.lower(), name) for why, name in (figure.title.split(": ") for figure in section.figures)]


def chosen(*runs: LabelledRun) -> list[tuple[str, str]]:
    return [(case.why, case.id) for case in choose_cases(pd.concat(run.predictions for run in runs))]


def test_all_runs_show_the_images_that_are_hard_for_all_of_them(tmp_path: Path) -> None:
    runs = [made_up(tmp_path, seed, networks=("s", "t")) for seed in range(1, 13)]
    (section,) = sections_of(*runs)
    means = pd.concat(run.predictions for run in runs).query("target_pixels > 0").groupby("id")["iou"].mean()
    assert {name for why, name in shown(section) if why == "worst"} == set(means.nsmallest(4).index)
    assert {name for why, name in shown(section) if why == "best"} == set(means.nlargest(2).index)
    assert shown(section) == chosen(*runs)
    assert chosen(*runs) != chosen(runs[0]), "no run alone would have chosen these"
    assert section.about == (
        "Chosen: the 2 best, 2 median and 4 worst by the mean IoU over the 24 networks shown, the 2 smallest of the "
        "other targets, 4 of the rest at random and the largest false positive, of all 30 test images."
    )
    assert all(figure.svg.count("<b>run") == 24 for figure in section.figures)


@pytest.mark.parametrize("classes", [2, 3])
def test_each_network_has_its_own_masks(tmp_path: Path, classes: int) -> None:
    runs = [made_up(tmp_path, seed, classes=classes, networks=("s", "t")[:seed]) for seed in (1, 2)]
    (section,) = sections_of(*runs)
    for figure, (_, name) in zip(section.figures, shown(section), strict=True):
        place, panels = int(name[1:]), figure.svg.split("<li>")[2:]
        truth = squares(0, 30, classes)[place]
        for seed, panel in zip((10, 20, 21), panels, strict=True):
            drawn = re.findall('<path d="([^"]*)"', panel)[::2]  # each line has a rim
            assert drawn == [outline(truth), outline(squares(seed, 30, classes)[place])]


def test_of_a_large_test_part_all_runs_keep_one_lot(tmp_path: Path) -> None:
    ids = [f"i{place}" for place in range(40)]
    kept = ids_to_keep(ids, 25)
    assert kept == sorted(kept) == ids_to_keep(ids[::-1], 25)
    assert len(set(kept)) == 25
    assert set(ids_to_keep(ids[:39], 25)) >= set(kept) - {ids[39]}
    assert ids_to_keep(ids) == sorted(ids)
    run = made_up(tmp_path, 1, images=1200)
    (section,) = sections_of(run)
    assert "worst by IoU, the 2 smallest" in section.about
    assert section.about.endswith("of 500 of the 1\u202f200 test images: a random sample, the same in all runs.")
    assert {name for _, name in shown(section)} <= set(ids_to_keep(run.predictions["id"].tolist()))


def test_nothing_to_show_is_no_section(tmp_path: Path) -> None:
    run = made_up(tmp_path, 1)
    run.predictions[["target_pixels", "predicted_pixels"]] = 0
    assert sections_of(run) == []
    (run.path / "overlays.npz").unlink()
    assert sections_of(run) == []


@pytest.mark.parametrize("damage", ["ids", "few", "networks", "masks"])
def test_a_file_of_another_run_is_refused(tmp_path: Path, damage: str) -> None:
    run = made_up(tmp_path, 1)
    path = run.path / "overlays.npz"
    with np.load(path) as held:
        result = dict(held)
    foreign = {
        "ids": {"ids": np.array([f"x{name}" for name in result["ids"]])},
        "few": {"ids": result["ids"][:5], "truth": result["truth"][:5], "masks": result["masks"][:, :5]},
        "networks": {"networks": np.array(["t"])},
        "masks": {"masks": result["masks"][:, :5]},
    }
    np.savez(path, **result | foreign[damage])
    with pytest.raises(PreceptorError, match=re.escape(f"{path} does not fit the run")) as caught:
        sections_of(run)
    assert "preceptor evaluate" in caught.value.remedy
