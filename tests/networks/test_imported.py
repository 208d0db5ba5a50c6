"""A classifier that was trained elsewhere teaches here as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from preceptor import PreceptorError, import_network, load, train
from preceptor.networks.network_file import load_network
from tests.conftest import TINY

CLASSES = ["nv", "mel", "bcc"]
SMALL = {**TINY, "epochs": 1, "networks.student.backbone": "test_resnet", "networks.student.pretrained": "none"}
MEAN, STD = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)


@pytest.fixture
def theirs(tmp_path: Path) -> torch.nn.Module:
    torch.manual_seed(3)
    model = timm.create_model("test_resnet", num_classes=3).eval()
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"model": state, "epoch": 12}, tmp_path / "theirs.pth")
    return model


def test_it_gives_the_logits_that_it_gave(theirs: torch.nn.Module, tmp_path: Path) -> None:
    ours = load(
        import_network(
            tmp_path / "theirs.pth", tmp_path / "teacher.safetensors", backbone="test_resnet", classes=CLASSES,
            order=["bcc", "mel", "nv"], image_size=32, mean=MEAN, std=STD,
        )
    )  # fmt: skip
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    with torch.no_grad():
        expected = theirs((images - mean) / std)
        torch.testing.assert_close(ours(images).logits, expected[:, [2, 1, 0]])
    assert ours.architecture.classes == ("bcc", "mel", "nv")


def test_it_teaches_in_a_recipe(tmp_path: Path, phantom_root: Path, no_reports: None) -> None:
    classes = train(
        "student", data="phantom", root=phantom_root, out=tmp_path / "first", overrides=SMALL
    ).metrics.classes
    torch.save(timm.create_model("test_resnet", num_classes=len(classes)).state_dict(), tmp_path / "theirs.pt")
    file = import_network(
        tmp_path / "theirs.pt", tmp_path / "teacher.safetensors", backbone="test_resnet", classes=classes, image_size=32
    )
    changes = {**SMALL, "networks.teacher.run": str(file)}
    with pytest.warns(UserWarning, match=r"networks\.teacher\.run: .* lies in no run's folder"):
        run = train("kd", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=changes)
    kept, header = load_network(file)
    assert header["imported"] == "theirs.pt"
    teacher = run.metrics.networks["teacher"]
    assert (teacher.role, teacher.start) == ("frozen teacher", "imported from theirs.pt")
    assert kept.architecture.classes == tuple(classes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": ["nv", "mel"]}, r"has a classifier of 3 outputs, not one of 2 \(nv, mel\)"),
        ({"classes": ["nv", "mel", "nv"]}, "nv is named twice"),
        ({"classes": "nv"}, "a list of 2 or more names"),
        ({"order": ["nv", "mel", "df"]}, "the classes in another order: nv, mel, bcc"),
        ({"backbone": "test_efficientnet"}, "these are not the weights of 'test_efficientnet'"),
        ({"mean": [0.5]}, "three numbers"),
        ({"mean": [123.7, 116.3, 103.5]}, r"divide those for 0 … 255 by 255"),
        ({"std": [0.2, 0.0, 0.2]}, r"numbers for images in \[0, 1\]"),
        ({"image_size": 8}, "16 pixels or more"),
        ({"out": "teacher.pth"}, "is not named .safetensors"),
        ({"weights": "nowhere.pth"}, "no such weights file"),
    ],
)
@pytest.mark.usefixtures("theirs")
def test_what_does_not_fit_writes_nothing(changes: dict[str, object], words: str, tmp_path: Path) -> None:
    given = {"weights": "theirs.pth", "out": "teacher.safetensors", "backbone": "test_resnet", "classes": CLASSES}
    arguments = given | {"image_size": 32} | changes
    places = {name: tmp_path / str(arguments.pop(name)) for name in ("weights", "out")}
    with pytest.raises(PreceptorError, match=words):
        import_network(**places, **arguments)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.pth"]


@pytest.mark.usefixtures("theirs")
def test_a_file_is_not_overwritten_and_a_run_names_the_way_in(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_text("mine")
    with pytest.raises(PreceptorError, match="exists, and is not a file that this command wrote"):
        import_network(tmp_path / "theirs.pth", file, backbone="test_resnet", classes=CLASSES)
    with pytest.raises(PreceptorError, match=r"comes in with preceptor\.import_network"):
        load_network(tmp_path / "theirs.pth")
