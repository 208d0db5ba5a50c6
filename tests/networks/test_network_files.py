"""Where the weights of a network come from, and the files that it is written to."""

from __future__ import annotations

import copy
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from preceptor.api.prediction import load, predict
from preceptor.networks.build import build_networks
from preceptor.networks.classifier import Classifier
from preceptor.networks.find_network import find_network
from preceptor.networks.network_file import INTENDED_USE, load_network, save_network
from preceptor.networks.pretrained import load_pretrained, read_weights
from preceptor.recipe import NetworkConfig
from preceptor.utils.errors import PreceptorError
from small_networks import CLASSES, CNN, classifier, images, same_state

# --- where weights come from -----


def backbone_file(path: Path, name: str = CNN, **settings: Any) -> nn.Module:
    torch.manual_seed(7)
    model = timm.create_model(name, **settings)
    if path.suffix == ".safetensors":
        save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path)
    return model


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_from_a_local_file(suffix: str, tmp_path: Path) -> None:
    source = backbone_file(tmp_path / f"weights{suffix}").state_dict()
    wanted = {"student": NetworkConfig(backbone=CNN, pretrained=str(tmp_path / f"weights{suffix}"))}
    networks, starts = build_networks(wanted, CLASSES, 32, 0)
    fresh, _ = build_networks({"student": NetworkConfig(backbone=CNN)}, CLASSES, 32, 0)
    own, random = networks["student"].backbone.state_dict(), fresh["student"].backbone.state_dict()
    for key, value in own.items():
        assert torch.equal(value, random[key] if key.startswith("fc.") else source[key]), key
    assert starts["student"] == f"file weights{suffix}"


def test_a_classifier_of_as_many_classes_comes_along(tmp_path: Path) -> None:
    source = backbone_file(tmp_path / "w.safetensors", num_classes=3)
    networks, _ = build_networks(
        {"student": NetworkConfig(backbone=CNN, pretrained=str(tmp_path / "w.safetensors"))}, CLASSES, 32, 0
    )
    assert torch.equal(networks["student"].classifier.weight, source.fc.weight)


def test_a_transformers_weights_fit_another_image_size(tmp_path: Path) -> None:
    """Its table of positions is resampled; all else is taken as it is."""
    source = backbone_file(tmp_path / "w.safetensors", "test_vit").state_dict()
    wanted = {"student": NetworkConfig(backbone="test_vit", pretrained=str(tmp_path / "w.safetensors"))}
    networks, _ = build_networks(wanted, CLASSES, 64, 0)
    own = networks["student"].backbone.state_dict()
    assert source["pos_embed"].shape != own["pos_embed"].shape
    assert torch.equal(own["blocks.0.attn.qkv.weight"], source["blocks.0.attn.qkv.weight"])
    torch.testing.assert_close(own["pos_embed"].mean(), source["pos_embed"].mean(), atol=0.02, rtol=0)


def test_a_start_from_nothing_says_so() -> None:
    assert build_networks({"student": NetworkConfig(backbone=CNN)}, CLASSES, 32, 0)[1] == {"student": "random"}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match=r"none\.safetensors: no such weights file"):
        read_weights(tmp_path / "none.safetensors")


@pytest.mark.parametrize("other", ["test_efficientnet", "test_vit"])
def test_another_networks_weights_are_refused(other: str, tmp_path: Path) -> None:
    backbone_file(tmp_path / "w.safetensors", other)
    with pytest.raises(PreceptorError, match=r"w\.safetensors: these are not the weights of 'test_resnet'"):
        load_pretrained(timm.create_model(CNN, num_classes=3), CNN, str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("fault", ["lacks", "besides", "shape"])
def test_weights_that_differ_in_one_tensor_are_refused(fault: str, tmp_path: Path) -> None:
    weights = timm.create_model(CNN).state_dict()
    if fault == "lacks":
        del weights["conv1.0.weight"]
    elif fault == "besides":
        weights["conv9.weight"] = torch.zeros(1)
    else:
        weights["conv1.0.weight"] = weights["conv1.0.weight"][:1].contiguous()
    save_file(weights, tmp_path / "w.safetensors")
    model = timm.create_model(CNN, num_classes=3)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(PreceptorError, match="conv9" if fault == "besides" else r"conv1\.0\.weight"):
        load_pretrained(model, CNN, str(tmp_path / "w.safetensors"))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


class Bomb:
    """Unpickling it would make a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def test_a_file_with_code_is_not_opened(tmp_path: Path) -> None:
    torch.save({"state_dict": timm.create_model(CNN).state_dict(), "x": Bomb(tmp_path / "boom")}, tmp_path / "w.pth")
    with pytest.raises(PreceptorError, match=r"w\.pth: holds more than tensors"):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("content", [b"", b"no weights at all", "half"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_weights_file_is_named(suffix: str, content: bytes | str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    backbone_file(path)
    path.write_bytes(path.read_bytes()[:5000] if isinstance(content, str) else content)
    with pytest.raises(PreceptorError, match=rf"w\{suffix}"):
        read_weights(path)


@pytest.mark.parametrize("content", [[1, 2], torch.ones(2), {"state_dict": {"epoch": 3}}, {"epoch": 3}])
def test_a_file_without_a_state_dict_is_named(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(PreceptorError, match=r"w\.pth"):
        load_pretrained(timm.create_model(CNN, num_classes=3), CNN, str(tmp_path / "w.pth"))


def test_without_the_hub_both_ways_out_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(PreceptorError) as caught:
        build_networks({"student": NetworkConfig(backbone=CNN, pretrained="imagenet")}, CLASSES, 32, 0)
    text = str(caught.value)
    for part in ("imagenet", CNN, ".pretrained=none", ".safetensors"):
        assert part in text
    assert len(text.splitlines()) == 3


def test_the_hubs_weights_are_loaded_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    hub = timm.create_model(CNN)
    create = timm.create_model

    def from_hub(name: str, pretrained: bool = False, **content: Any) -> nn.Module:
        return hub if pretrained else create(name, **content)

    monkeypatch.setattr(timm, "create_model", from_hub)
    networks, starts = build_networks({"student": NetworkConfig(backbone=CNN, pretrained="imagenet")}, CLASSES, 32, 0)
    assert torch.equal(networks["student"].backbone.conv1[0].weight, hub.conv1[0].weight)
    assert starts["student"].startswith("ImageNet")


@pytest.mark.skipif("PRECEPTOR_DATA" not in os.environ, reason="needs the shared weights")
def test_the_shared_imagenet_weights_fit_mobilenetv2() -> None:
    path = Path(os.environ["PRECEPTOR_DATA"]) / "mobilenetv2_100_imagenet.safetensors"
    wanted = {"teacher": NetworkConfig(backbone="mobilenetv2_100", pretrained=str(path))}
    networks, starts = build_networks(wanted, CLASSES, 64, 0)
    weights = read_weights(path)
    own = networks["teacher"].backbone.state_dict()
    shared = [key for key in own if key in weights and not key.startswith("classifier.")]
    assert len(shared) > 250
    for key in shared:
        torch.testing.assert_close(own[key], weights[key], check_dtype=False, rtol=0, atol=0)
    assert starts["teacher"] == "file mobilenetv2_100_imagenet.safetensors"


# --- files -----


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Classifier, Path]:
    network = classifier(projection=8, dropout=0.1).eval()
    network.backbone.bn1.running_mean += 1
    save_network(network, tmp_path / "student.safetensors", {"recipe": "kd", "test": {"accuracy": 0.5}})
    return network, tmp_path / "student.safetensors"


def test_a_network_survives_its_file(saved: tuple[Classifier, Path]) -> None:
    network, path = saved
    again, header = load_network(path)
    assert again.architecture == network.architecture
    assert not again.training
    assert same_state(again, network)
    for field in ("logits", "projection", "feature_map", "embedding"):
        assert torch.equal(getattr(again(images()), field), getattr(network(images()), field))
    assert header["recipe"] == "kd"
    assert header["test"] == {"accuracy": 0.5}
    assert header["architecture"]["classes"] == list(CLASSES)
    assert header["preprocessing"]["side"] == 32
    assert header["intended_use"] == INTENDED_USE
    assert [item.name for item in path.parent.iterdir()] == ["student.safetensors"]  # no temporary file stays


def rewrite(path: Path, header: object, tensors: dict[str, Tensor] | None = None) -> None:
    """The same file with another header (text as it is), or other tensors."""
    tensors = load_file(path) if tensors is None else tensors
    text = header if isinstance(header, str) else json.dumps(header)
    save_file(tensors, path, metadata={"preceptor": text})


@pytest.mark.parametrize("length", [0, 5, 2000, -1])
def test_a_truncated_file_is_named(saved: tuple[Classifier, Path], length: int) -> None:
    _, path = saved
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(PreceptorError, match=r"student\.safetensors: cannot be read"):
        load_network(path)


def test_bare_weights_are_no_network_and_the_way_to_use_them_is_said(tmp_path: Path) -> None:
    backbone_file(tmp_path / "bare.safetensors")
    with pytest.raises(PreceptorError, match=r"bare\.safetensors: has no Preceptor header") as caught:
        load_network(tmp_path / "bare.safetensors")
    assert "pretrained" in caught.value.remedy


def test_a_missing_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match=r"none\.safetensors: no such file"):
        load_network(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        lambda header: "{",
        lambda header: [],
        lambda header: {key: value for key, value in header.items() if key != "architecture"},
        lambda header: {**header, "architecture": {**header["architecture"], "strange": 1}},
        lambda header: {**header, "architecture": {k: v for k, v in header["architecture"].items() if k != "mean"}},
        lambda header: {**header, "architecture": {**header["architecture"], "classes": ["mel", "nv"]}},
        lambda header: {**header, "architecture": {**header["architecture"], "backbone": "test_efficientnet"}},
        lambda header: {**header, "format": 2},
    ],
    ids=["not JSON", "a list", "no architecture", "unknown key", "missing key", "classes", "backbone", "format"],
)
def test_a_damaged_header_is_one_error_that_names_the_file(saved: tuple[Classifier, Path], change: Any) -> None:
    _, path = saved
    rewrite(path, change(load_network(path)[1]))
    with pytest.raises(PreceptorError, match=r"student\.safetensors"):
        load_network(path)


def test_a_missing_tensor_is_named(saved: tuple[Classifier, Path]) -> None:
    network, path = saved
    tensors = {key: value.contiguous() for key, value in network.state_dict().items() if key != "backbone.bn1.bias"}
    rewrite(path, load_network(path)[1], tensors)
    with pytest.raises(PreceptorError, match=r"student\.safetensors.*backbone\.bn1\.bias"):
        load_network(path)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.999])
def test_one_changed_bit_is_noticed(saved: tuple[Classifier, Path], place: float) -> None:
    _, path = saved
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")  # of the tensors
    content[start + int(place * (len(content) - start))] ^= 1
    path.write_bytes(content)
    with pytest.raises(PreceptorError, match=r"student\.safetensors: is damaged"):
        load_network(path)


def test_nothing_is_unpickled_from_a_network_file(tmp_path: Path) -> None:
    torch.save({"preceptor": Bomb(tmp_path / "boom")}, tmp_path / "student.safetensors")
    assert zipfile.is_zipfile(tmp_path / "student.safetensors")
    with pytest.raises(PreceptorError, match="cannot be read"):
        load_network(tmp_path / "student.safetensors")
    assert not (tmp_path / "boom").exists()


# --- a network from a run -----


def run_with(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        save_network(classifier(projection=8), folder / f"{name}.safetensors")
    return folder


def test_the_network_of_that_name_is_found_or_the_only_one(tmp_path: Path) -> None:
    both = run_with(tmp_path / "both", "student", "teacher")
    assert find_network(both, "teacher", "key") == both / "teacher.safetensors"
    assert find_network(both / "student.safetensors", "teacher", "key") == both / "student.safetensors"
    single = run_with(tmp_path / "one", "student")
    assert find_network(single, "teacher", "key") == single / "student.safetensors"


def test_a_run_without_the_network_is_named(tmp_path: Path) -> None:
    both = run_with(tmp_path / "both", "student", "teacher")
    with pytest.raises(PreceptorError, match=r"networks\.tutor\.run: .*student, teacher, none called 'tutor'"):
        find_network(both, "tutor", "networks.tutor.run")
    with pytest.raises(PreceptorError) as caught:
        find_network(both, "tutor", "networks.tutor.run")
    ways = [f"networks.tutor.run={both / name}.safetensors" for name in ("student", "teacher")]
    assert caught.value.remedy == f"name one of them: {' or '.join(ways)}"
    (tmp_path / "unfinished").mkdir()
    with pytest.raises(PreceptorError, match="holds no finished network") as caught:
        find_network(tmp_path / "unfinished", "student", "key")
    assert "preceptor resume" in caught.value.remedy
    assert "copy them too" in caught.value.remedy
    with pytest.raises(PreceptorError, match="there is no run at"):
        find_network(tmp_path / "nowhere", "student", "key")


def test_a_network_is_chosen_in_the_callers_own_words(tmp_path: Path) -> None:
    pair = run_with(tmp_path / "pair", "student_1", "student_2")
    image = tmp_path / "image.png"
    Image.new("RGB", (32, 32)).save(image)
    with pytest.raises(PreceptorError, match=r"has several networks\. Networks: student_1, student_2") as caught:
        predict(pair, [image])
    assert caught.value.remedy == "name one of them: --network student_1 or --network student_2"
    predict(pair, [image], network="student_1", out=tmp_path / "table.csv")
    with pytest.raises(PreceptorError, match="has several networks") as caught:
        load(pair)
    assert caught.value.remedy == "name one of them: network='student_1' or network='student_2'"
    assert load(pair, network="student_2").architecture.classes


def test_a_frozen_network_is_the_one_in_the_file_and_takes_no_gradient(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", "teacher")
    wanted = {"teacher": NetworkConfig(run=str(run), frozen=True), "student": NetworkConfig(run=str(run))}
    networks, starts = build_networks(wanted, CLASSES, 32, 0)
    assert same_state(networks["teacher"], load_network(run / "teacher.safetensors")[0])
    assert not any(parameter.requires_grad for parameter in networks["teacher"].parameters())
    assert all(parameter.requires_grad for parameter in networks["student"].parameters())
    assert starts["teacher"] == "run run/teacher.safetensors"


@pytest.mark.parametrize(
    ("content", "classes", "named"),
    [
        ({}, ("mel", "nv"), "mel, nv, bcc"),
        ({}, ("nv", "mel", "bcc"), "nv, mel, bcc"),  # another order is another meaning of the logits
        ({"backbone": "resnet18"}, CLASSES, "test_resnet, not a resnet18"),
        ({"projection": 16}, CLASSES, "projection 8, not 16"),
    ],
)
def test_a_run_of_something_else_is_refused(content: Any, classes: tuple[str, ...], named: str, tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", "teacher")
    with pytest.raises(PreceptorError) as caught:
        build_networks({"teacher": NetworkConfig(run=str(run), frozen=True, **content)}, classes, 32, 0)
    assert "networks.teacher.run" in str(caught.value)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"epoch": 3, "state_dict": state},
        lambda state: {"epoch": 3, "model": state},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"model.module.{key}": value for key, value in state.items()}},
    ],
)
def test_weights_are_found_where_training_scripts_put_them(
    tmp_path: Path, wrap: Callable[[dict[str, torch.Tensor]], dict[str, Any]]
) -> None:
    state = {"conv.weight": torch.ones(2), "head.bias": torch.zeros(1)}
    torch.save(wrap(state), tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").keys() == state.keys()


def test_a_checkpoint_without_a_state_dict_names_what_it_holds(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "student": {"a": 1}}, tmp_path / "w.pth")
    with pytest.raises(PreceptorError, match=r"no state dict; it holds epoch, student"):
        read_weights(tmp_path / "w.pth")
