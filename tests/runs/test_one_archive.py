"""HAM10000 is a part of ISIC 2019: an image is known by its id there, however it was encoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from preceptor.data.copies import Contents
from preceptor.recipes.resolve import resolve
from preceptor.runs.create import prepare, split_of
from preceptor.runs.data import Data
from preceptor.runs.directory import Run
from preceptor.runs.known_images import known_images
from preceptor.runs.leakage import refuse_leak
from preceptor.utils.errors import PreceptorError
from tests.small_images import save_image

RECIPE = resolve(
    "student",
    ["networks.student.backbone=test_resnet", "networks.student.pretrained=none", "split.validation=0.25"],
)
IDS = [f"ISIC_{number:07d}" for number in range(70)]
OF_HAM = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
OF_ISIC = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")


def _picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(path, np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    root = tmp_path / "HAM10000"
    for number, name in enumerate(IDS):
        _picture(root / f"HAM10000_images_part_{1 + number % 2}" / f"{name}.jpg", number)
    rows = [f"HAM_{number},{name},{OF_HAM[number % 7]}" for number, name in enumerate(IDS)]
    (root / "HAM10000_metadata.csv").write_text("\n".join(["lesion_id,image_id,dx", *rows]) + "\n")
    return prepare(RECIPE, Data("ham10000", root), tmp_path / "run")


@pytest.fixture
def isic(tmp_path: Path) -> Data:
    """The first 40 images, as other pictures, and one that HAM10000 lacks."""
    root = tmp_path / "ISIC2019"
    names = [*IDS[:40], "ISIC_9999999"]
    for number, name in enumerate(names):
        _picture(root / "ISIC_2019_Training_Input" / f"{name}.jpg", 100 + number)
    labels = [
        ",".join([name, *(str(int(place == number % 8)) for place in range(9))]) for number, name in enumerate(names)
    ]
    (root / "ISIC_2019_Training_GroundTruth.csv").write_text("\n".join([",".join(["image", *OF_ISIC]), *labels]) + "\n")
    head = "image,age_approx,anatom_site_general,lesion_id,sex"
    (root / "ISIC_2019_Training_Metadata.csv").write_text("\n".join([head, *(f"{name},,,," for name in names)]) + "\n")
    return Data("isic2019", root)


def test_images_of_one_archive_are_known_by_their_ids(run: Run, isic: Data) -> None:
    split = run.split.set_index("id")["part"]
    known = known_images([run], Contents(isic.catalog()), {})
    assert set(known.parts) == {name for name in IDS[:40] if split[name] != "test"}


def test_a_teacher_of_the_archives_other_data_is_refused(run: Run, isic: Data) -> None:
    file = run.network_file("student")
    file.touch()
    with pytest.raises(PreceptorError, match=r"of this run's test part .* it is of ham10000 in"):
        refuse_leak("networks.teacher.run", file, isic, split_of(isic.catalog(), RECIPE, 0))
