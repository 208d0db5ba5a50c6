"""The model card of an export: ``README.md`` with the front matter that model hubs read. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import jinja2
from huggingface_hub import EvalResult, ModelCardData

from preceptor.deploy.manifest import CARD, Manifest
from preceptor.tasks import TASKS
from preceptor.utils.files import write_text

_HERE = Path(__file__).parent


def write_model_card(folder: Path, manifest: Manifest) -> Path:
    """Write ``README.md`` into an export's folder."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), undefined=jinja2.StrictUndefined, keep_trailing_newline=False
    )
    masks = manifest.task == "segmentation"
    text = environment.get_template("model_card.md.j2").render(
        manifest=manifest, task=TASKS[manifest.task], masks=masks, card_data=front_matter(manifest).to_yaml()
    )
    write_text(folder / CARD, text.rstrip() + "\n")
    return folder / CARD


def front_matter(manifest: Manifest) -> ModelCardData:
    """The card's metadata, as the hub's own library checks and writes it."""
    name = f"{manifest.network}-{manifest.source.data['name']}"
    kind = "image-segmentation" if manifest.task == "segmentation" else "image-classification"
    results = [
        EvalResult(
            task_type=kind,
            dataset_type=str(manifest.source.data["name"]),
            dataset_name=str(manifest.source.data["name"]),
            dataset_split="test",
            metric_type=figure.key,
            metric_name=figure.label,
            metric_value=round(figure.value, 4),
        )
        for figure in manifest.test_figures
    ]
    return ModelCardData(
        model_name=name,
        library_name="onnx",
        pipeline_tag=kind,
        tags=["medical", "knowledge-distillation", "preceptor", "not-for-diagnosis", "research-only"],
        eval_results=results or None,
    )
