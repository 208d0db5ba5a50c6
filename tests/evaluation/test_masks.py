"""Figures of merit of masks, their union, and the overlays that show them."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, jaccard_score
from torch import Tensor

from preceptor.evaluation.examples import Case, choose_cases
from preceptor.evaluation.masks import MaskMeter, union
from preceptor.report.outlines import outline, overlay, window
from preceptor.utils.errors import PreceptorError

TWO = ("background", "lesion")
THREE = ("background", "core", "edge")


def mask(*rows: str) -> Tensor:
    return torch.tensor([[int(cell) for cell in row] for row in rows])[None]


def measured(predicted: Tensor, truth: Tensor, classes: tuple[str, ...] = TWO) -> MaskMeter:
    meter = MaskMeter(classes)
    meter.update(predicted, truth)
    return meter


# --- counted by hand -----


@pytest.mark.parametrize(
    ("predicted", "truth", "iou", "dice"),
    [
        (mask("110", "000"), mask("011", "000"), 1 / 3, 2 / 4),
        (mask("111", "111"), mask("111", "111"), 1, 1),
        (mask("000", "000"), mask("000", "000"), 1, 1),
        (mask("100", "000"), mask("000", "000"), 0, 0),
        (mask("000", "000"), mask("100", "000"), 0, 0),
        (mask("100", "000"), mask("001", "000"), 0, 0),
    ],
)
def test_one_mask_by_hand(predicted: Tensor, truth: Tensor, iou: float, dice: float) -> None:
    row = measured(predicted, truth).rows(["a"], part="test", network="student").iloc[0]
    assert (row["id"], row["part"], row["network"]) == ("a", "test", "student")
    assert (row["iou"], row["dice"]) == pytest.approx((iou, dice))
    assert (row["target_pixels"], row["predicted_pixels"]) == (truth.sum(), predicted.sum())


def test_several_images_by_hand() -> None:
    meter = MaskMeter(TWO)
    meter.update(mask("1100"), mask("1000"))  # iou 1/2, dice 2/3
    meter.update(torch.cat([mask("0000"), mask("0010")]), torch.cat([mask("0000"), mask("1111")]))  # 1; 1/4, 2/5
    results = meter.result()
    assert (results["images"], results["images_with_target"]) == (3, 2)
    assert results["iou"] == pytest.approx((1 / 2 + 1 + 1 / 4) / 3)
    assert results["dice"] == pytest.approx((2 / 3 + 1 + 2 / 5) / 3)
    assert results["iou_with_target"] == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert results["dice_with_target"] == pytest.approx((2 / 3 + 2 / 5) / 2)
    assert results["iou_pooled"] == pytest.approx(2 / 6)
    assert results["dice_pooled"] == pytest.approx(4 / 8)
    assert results["pixel_accuracy"] == pytest.approx(8 / 12)
    assert results["per_class"]["lesion"]["images"] == 2
    assert results["absent_classes"] == []


def test_several_classes_by_hand() -> None:
    # image 1: core 1/2 and edge 1; image 2: edge in the prediction alone, core nowhere
    text, truth = torch.cat([mask("1120"), mask("0002")]), torch.cat([mask("1020"), mask("0000")])
    meter = measured(text, truth, THREE)
    table = meter.rows(["a", "b"], part="test", network="s")
    assert table["iou"].tolist() == pytest.approx([(1 / 2 + 1) / 2, 0])
    assert table["iou_core"].tolist() == pytest.approx([1 / 2, 1])
    assert table["dice_edge"].tolist() == pytest.approx([1, 0])
    results = meter.result()
    assert results["per_class"]["core"] == pytest.approx(
        {"iou": 3 / 4, "dice": (2 / 3 + 1) / 2, "iou_pooled": 1 / 2, "dice_pooled": 2 / 3, "images": 1}
    )
    assert results["iou_pooled"] == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_classes_without_truth_are_named_and_not_averaged() -> None:
    results = measured(mask("1120"), mask("1000"), THREE).result()
    assert results["absent_classes"] == ["edge"]
    assert results["iou_pooled"] == pytest.approx(1 / 2)
    nothing = measured(mask("0000"), mask("0000"), THREE).result()
    assert (nothing["iou_pooled"], nothing["iou"], nothing["iou_with_target"]) == (1, 1, None)


def test_pooled_figures_agree_with_scikit_learn() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, truth = torch.randn(5, 4, 6, 7, generator=draw), torch.randint(4, (5, 6, 7), generator=draw)
    meter = MaskMeter(("background", "a", "b", "c"))
    for chunk in range(0, 5, 2):
        meter.update(logits[chunk : chunk + 2], truth[chunk : chunk + 2].byte())
    results, flat, text = meter.result(), truth.flatten(), logits.argmax(1).flatten()
    iou = jaccard_score(flat, text, average=None)[1:]
    f1 = f1_score(flat, text, average=None)[1:]
    assert [item["iou_pooled"] for item in results["per_class"].values()] == pytest.approx(iou)
    assert [item["dice_pooled"] for item in results["per_class"].values()] == pytest.approx(f1)
    assert (results["iou_pooled"], results["dice_pooled"]) == pytest.approx((iou.mean(), f1.mean()))
    assert results["pixel_accuracy"] == pytest.approx(accuracy_score(flat, text))
    each = [
        jaccard_score(t.flatten(), p.flatten(), labels=[1, 2, 3], average="macro")
        for t, p in zip(truth, logits.argmax(1), strict=True)
    ]
    assert meter.rows(list("abcde"), part="test", network="s")["iou"].tolist() == pytest.approx(each)


@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [
        (torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long), "3 classes"),
        (torch.zeros(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long), "floating"),
        (torch.zeros(1, 2, 3, dtype=torch.long), torch.zeros(1, 2, 2, dtype=torch.long), r"\(B, H, W\)"),
        (mask("00"), mask("02"), "targets range over 0 … 2"),
        (mask("02"), mask("00"), "predictions range"),
    ],
)
def test_what_cannot_be_counted_is_refused(predicted: Tensor, truth: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskMeter(TWO).update(predicted, truth)


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(ValueError, match="no image"):
        MaskMeter(TWO).result()
    with pytest.raises(ValueError, match="2 ids for 1 images"):
        measured(mask("01"), mask("01")).rows(["a", "b"], part="test", network="s")
    with pytest.raises(ValueError, match="at least one more"):
        MaskMeter(("background",))


# --- union -----


def test_union_of_binary_masks_is_theirs() -> None:
    one, other = torch.rand(2, 3, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    one, other = one / one.sum(1, keepdim=True), other / other.sum(1, keepdim=True)
    assert torch.equal(union([one, other]), (one.argmax(1) | other.argmax(1)))
    assert torch.equal(union([one]), one.argmax(1))


def test_union_takes_the_class_of_the_surest_network_that_sees_one() -> None:
    def pixel(*probabilities: float) -> Tensor:
        return torch.tensor(probabilities).view(1, -1, 1, 1)

    assert union([pixel(0.1, 0.5, 0.4), pixel(0.1, 0.3, 0.6)]).item() == 2
    assert union([pixel(0.9, 0.1, 0.0), pixel(0.3, 0.4, 0.3)]).item() == 1
    # the first calls it background, so that its doubts do not count
    assert union([pixel(0.5, 0.01, 0.49), pixel(0.3, 0.4, 0.3)]).item() == 1
    assert union([pixel(0.5, 0.3, 0.2), pixel(0.6, 0.4, 0.0)]).item() == 0


def test_union_of_unlike_shapes_is_refused() -> None:
    with pytest.raises(PreceptorError, match="union"):
        union([torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 4, 4)])
    with pytest.raises(PreceptorError, match="union"):
        union([])


# --- overlays -----


def table(*rows: tuple[str, float, int, int], network: str = "s") -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["id", "iou", "target_pixels", "predicted_pixels"])
    return frame.assign(network=network)


def test_cases_are_chosen_by_the_mean_over_networks() -> None:
    rows = [
        ("a", 0.9, 50, 50),
        ("b", 0.5, 40, 9),
        ("c", 0.1, 30, 9),
        ("d", 0.6, 5, 9),
        ("e", 1.0, 0, 0),
        ("f", 0, 0, 7),
    ]
    both = pd.concat([table(*rows), table(("a", 0.3, 50, 50), *rows[1:], network="t")])
    result = choose_cases(both, best=1, median=1, worst=1, small=1, drawn=0)
    assert result == [
        Case("a", "best"),
        Case("b", "median"),
        Case("c", "worst"),
        Case("d", "small"),
        Case("f", "false positive"),
    ]


def test_no_case_comes_twice_and_none_is_invented() -> None:
    result = choose_cases(table(("a", 0.5, 4, 4), ("b", 0.0, 9, 0), ("c", 1.0, 0, 0)))
    assert sorted(case.id for case in result) == ["a", "b"]
    assert choose_cases(table(("c", 1.0, 0, 0))) == []
    equals = choose_cases(table(("x", 0.0, 3, 0), ("y", 0.0, 8, 0)), best=0, median=0, worst=1, small=0, drawn=0)
    assert equals == [Case("y", "worst")]


def test_the_outline_runs_between_pixels() -> None:
    square = np.zeros((4, 4), dtype=np.int64)
    square[1:3, 2:4] = 1  # touches the right edge
    assert sorted(re.findall(r"M[\d ]+[HV]\d+", outline(square))) == ["M2 1H4", "M2 1V3", "M2 3H4", "M4 1V3"]
    square[1, 3] = 2  # another class: a border inside
    assert {"M3 1V2", "M3 2H4"} <= set(re.findall(r"M[\d ]+[HV]\d+", outline(square)))
    assert outline(np.zeros((3, 3), dtype=np.int64)) == ""


def test_small_masks_are_shown_larger() -> None:
    empty, small, wide = (np.zeros((40, 80), dtype=np.int64) for _ in range(3))
    small[0, 79] = 1
    wide[:, 10:70] = 1
    assert window([empty]) == (0, 0, 80, 40)
    assert window([empty, small]) == (60, 0, 20, 10)
    assert window([small, wide]) == (0, 0, 80, 40)


def test_an_overlay_is_a_drawing_that_needs_nothing_else() -> None:
    image = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    truth = np.zeros((16, 16), dtype=np.int64)
    truth[4:8, 4:8] = 1
    half = truth.copy()
    half[:, 6:] = 0
    figure = overlay("Worst: <id>", image, truth, {"a & b": half, "ensemble": truth})
    assert figure.title == "Worst: <id>"
    drawing = ElementTree.fromstring(str(figure.svg))
    held = [item for item in drawing.iter() if item.tag == "image"]
    assert len(held) == 1
    data = base64.b64decode(held[0].attrib["href"].removeprefix("data:image/png;base64,"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), image)
    words = [item.text for item in drawing.iter() if item.tag in ("b", "span")]
    assert {"a & b", "ensemble", "IoU 0.50", "IoU 1.00"} <= set(words)
    paths = [item.attrib["d"] for item in drawing.iter() if item.tag == "path"]
    assert paths.count(outline(half)) == 2  # the line and its rim
    assert paths.count(outline(truth)) == 6
    with pytest.raises(ValueError, match="the mask of s"):
        overlay(Case("a", "worst"), image, truth, {"s": truth[:8]})
    with pytest.raises(ValueError, match="uint8"):
        overlay(Case("a", "worst"), image.astype(float), truth, {})
