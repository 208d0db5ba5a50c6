"""The model card: valid front matter, and what a reader must not miss."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from preceptor.deploy.manifest import read_manifest
from preceptor.runs.directory import Run


@pytest.fixture(scope="module")
def card(exported: Path) -> ModelCard:
    return ModelCard.load(exported / "README.md")


def test_the_front_matter_is_read_by_the_hubs_library(card: ModelCard, pair: Run) -> None:
    data = card.data
    assert (data.pipeline_tag, data.library_name) == ("image-classification", "onnx")
    assert "not-for-diagnosis" in data.tags
    results = {result.metric_type: result.metric_value for result in data.eval_results}
    measured = pair.metrics.networks["student_1"].test["balanced_accuracy"]
    assert results["balanced_accuracy"] == pytest.approx(measured, abs=1e-4)


def test_the_card_names_use_classes_figures_and_limits(card: ModelCard, exported: Path) -> None:
    for text in (
        "Not for diagnosis", "synthetic melanoma, renamed", "fold 0 of 5 (counted from 0)", "95 % CI",
        "## Calibration", "## Limits"
    ):  # fmt: skip
        assert text in card.text, text
    assert "{{" not in card.text
    assert "None" not in card.text.replace("None: ", "")
    headline = read_manifest(exported).test_figures[0]
    assert headline.key == "balanced_accuracy"
    assert headline.low <= headline.value <= headline.high
    assert f"| {headline.label} | {headline.value:.3f} |" in card.text


def test_masks_have_a_card_of_their_own(exported_masks: Path) -> None:
    text = (exported_masks / "README.md").read_text()
    assert "pipeline_tag: image-segmentation" in text
    assert "`mask` (batch, height, width)" in text
    assert "masks are not calibrated" in text
