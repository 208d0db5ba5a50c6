"""The phantom: what its knobs say is what is on disk, twice the same, and never half of it."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from preceptor.data.catalog import Catalog
from preceptor.data.images import read_image
from preceptor.data.mask_images import read_mask
from preceptor.data.phantom import CLASSES, Phantom, load_knobs, write_phantom
from preceptor.data.phantom import draw as module
from preceptor.data.readers import read
from preceptor.utils.errors import PreceptorError

SMALL = Phantom(images=90, size=32, imbalance=4, views=2)
OPTIONS = {"images": "90", "size": "32", "imbalance": "4", "views": "2"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return read("phantom", tmp_path_factory.mktemp("phantom") / "small", OPTIONS)


def test_the_table_is_as_the_knobs_say(small: Catalog) -> None:
    assert len(small) == 90
    assert small.classes == CLASSES
    assert small.counts() == {name: SMALL.counts()[name] for name in CLASSES}
    assert small.counts()["nv"] / small.counts()["df"] == pytest.approx(4, rel=0.35)
    assert small.table.groupby("group")["label"].nunique().max() == 1
    assert small.table["group"].nunique() < 90, "several images per lesion"
    assert load_knobs(small.root) == SMALL


def test_images_and_masks_belong_together(small: Catalog) -> None:
    for row in range(len(small)):
        image, mask = read_image(small.path(row)), read_mask(small.path(row, "mask"))
        assert image.shape == (32, 32, 3)
        assert mask.shape == (32, 32)
        assert 0.005 < mask.mean() < 0.95
        assert image.std() > 4, "not a flat picture"


def test_lesions_are_darker_or_redder_than_the_skin_around_them(small: Catalog) -> None:
    greens = []
    for row in range(len(small)):
        green, mask = read_image(small.path(row))[..., 1], read_mask(small.path(row, "mask")) == 1
        greens.append(float(green[~mask].mean()) - float(green[mask].mean()))
    assert np.mean(greens) > 15
    assert np.mean(np.array(greens) > 0) > 0.75


def test_views_of_a_lesion_differ(small: Catalog) -> None:
    table = small.table[small.table["group"].duplicated(keep=False)].sort_values("group")
    first, second = (read_image(small.path(int(row))).astype(int) for row in table.index[:2])
    assert table["group"].iloc[0] == table["group"].iloc[1]
    assert np.abs(first - second).mean() > 5


def test_the_same_knobs_draw_the_same_files_whatever_the_threads(small: Catalog, tmp_path: Path) -> None:
    write_phantom(tmp_path / "again", SMALL, workers=1)
    for path in sorted(small.root.rglob("*.*")):
        assert (tmp_path / "again" / path.relative_to(small.root)).read_bytes() == path.read_bytes()
    other = read("phantom", tmp_path / "other", {**OPTIONS, "images": "20", "seed": "1"})
    assert other.path(0).read_bytes() != small.path(0).read_bytes()


def test_similarity_and_variation_move_the_classes() -> None:
    from preceptor.data.phantom.traits import draw_traits

    def melanin(name: str, similarity: float, variation: float) -> np.ndarray:
        rng = np.random.default_rng(0)
        draws = [draw_traits(rng, name, similarity=similarity, variation=variation) for _ in range(200)]
        return np.array([draw.melanin for draw in draws])

    apart = melanin("mel", 0, 1).mean() - melanin("vasc", 0, 1).mean()
    nearer = melanin("mel", 0.5, 1).mean() - melanin("vasc", 0.5, 1).mean()
    assert apart > nearer > 0.1
    assert melanin("mel", 1, 0).mean() == pytest.approx(melanin("vasc", 1, 0).mean())
    assert melanin("mel", 0, 2).std() > 1.5 * melanin("mel", 0, 1).std() > 0
    assert melanin("mel", 0, 0).std() == pytest.approx(0)


def test_hair_and_noise_are_drawn(tmp_path: Path) -> None:
    knobs = replace(SMALL, images=12, imbalance=1, hair=0.0, noise=0.0)
    pictures = {}
    for name, setting in {"plain": knobs, "hair": replace(knobs, hair=1.0), "noise": replace(knobs, noise=0.2)}.items():
        write_phantom(tmp_path / name, setting)
        files = sorted((tmp_path / name / "images").iterdir())
        pictures[name] = np.stack([read_image(path).astype(float) for path in files])
    darkened = (pictures["plain"] - pictures["hair"]).mean(axis=-1) > 25
    assert (darkened.mean(axis=(1, 2)) > 0.005).all(), "hair lies across every image"
    assert darkened.mean() < 0.4, "and nothing else has changed"
    residue = pictures["noise"] - pictures["plain"]
    assert residue.std() == pytest.approx(0.2 * 255, rel=0.35)


def test_label_noise_mislabels_whole_lesions(tmp_path: Path) -> None:
    knobs = replace(SMALL, images=300, size=16, label_noise=0.4)
    plan = module._plan(knobs)
    share = np.mean([lesion.label != lesion.kind for lesion in plan])
    assert share == pytest.approx(0.4, abs=0.12)
    assert all(lesion.label == lesion.kind for lesion in module._plan(replace(knobs, label_noise=0.0)))


def test_an_existing_phantom_is_used_again(small: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preceptor.data.readers.phantom.write_phantom", lambda *_: pytest.fail("drawn again"))
    assert read("phantom", small.root, OPTIONS).fingerprint() == small.fingerprint()
    assert len(read("phantom", small.root)) == 90, "knobs that are not given are taken as they were"
    with pytest.raises(PreceptorError, match="holds a phantom with seed=0") as caught:
        read("phantom", small.root, {"seed": "3"})
    assert caught.value.expected == "seed=3"


def test_without_a_root_it_lies_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preceptor.data.readers.phantom.user_cache_path", lambda *_, **__: tmp_path)
    options = {"images": "14", "size": "16", "imbalance": "1"}
    one, two = read("phantom", None, options), read("phantom", None, {**options, "seed": "1"})
    assert one.root.parent == two.root.parent == tmp_path
    assert one.root != two.root


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(PreceptorError, match="is not a phantom data set"):
        read("phantom", tmp_path)
    with pytest.raises(PreceptorError, match="is not a phantom data set"):
        write_phantom(tmp_path, replace(SMALL, images=7, imbalance=1))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(PreceptorError, match="is not a phantom data set"):
        read("phantom", tmp_path / "thesis.tex")


def test_a_phantom_of_another_version_is_refused(small: Catalog, tmp_path: Path) -> None:
    stored = json.loads((small.root / "phantom.json").read_text())
    (tmp_path / "phantom.json").write_text(json.dumps({**stored, "format": 0}))
    with pytest.raises(PreceptorError, match="another version"):
        read("phantom", tmp_path)


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "photograph", fail)
    with pytest.raises(PreceptorError, match="No space left on device"):
        write_phantom(tmp_path / "half", SMALL)
    assert not list(tmp_path.iterdir())


def test_two_at_once_leave_one_whole(tmp_path: Path) -> None:
    knobs = replace(SMALL, images=14, size=16, imbalance=1)
    failures: list[BaseException] = []

    def draw() -> None:
        try:
            write_phantom(tmp_path / "shared", knobs, workers=1)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=draw) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [path.name for path in tmp_path.iterdir()] == ["shared"]
    assert len(read("phantom", tmp_path / "shared")) == 14


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    """Counted in images, as a bar for them needs: lesions with several are fewer."""
    received: list[int] = []
    write_phantom(tmp_path / "p", replace(SMALL, images=14, size=16, imbalance=1), received.append)
    assert sum(received) == 14
    assert len(received) < 14


def test_knobs_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        Phantom(similarity=2)
    with pytest.raises(PreceptorError, match=r"data\.similarity=2 .*less than or equal to 1"):
        read("phantom", tmp_path / "p", {"similarity": "2"})
    with pytest.raises(PreceptorError, match="Did you mean 'similarity'"):
        read("phantom", tmp_path / "p", {"similarty": "0.2"})
    with pytest.raises(PreceptorError, match="leave none to df"):
        read("phantom", tmp_path / "p", {"images": "20", "imbalance": "50"})


@pytest.mark.parametrize(("images", "imbalance"), [(7, 1), (1500, 15), (1499, 58), (999, 3)])
def test_counts_add_up(images: int, imbalance: float) -> None:
    counts = list(Phantom(images=images, imbalance=imbalance).counts().values())
    assert sum(counts) == images
    assert counts == sorted(counts, reverse=True)
