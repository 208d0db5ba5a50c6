"""Networks: what they say of an image, where their weights come from, their files, and the mean teacher."""

from __future__ import annotations

import copy
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from preceptor.errors import PreceptorError
from preceptor.networks.build import build_networks, find_network
from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.files import INTENDED_USE, load_network, save_network
from preceptor.networks.mean_teacher import MeanTeacher
from preceptor.networks.pretrained import load_pretrained, normalisation, read_weights
from preceptor.recipe import Network

CLASSES = ("mel", "nv", "bcc")
CNN = "test_resnet"


def architecture(backbone: str = CNN, side: int = 32, **settings: Any) -> Architecture:
    mean, std = normalisation(backbone)
    return Architecture(backbone, CLASSES, side, mean, std, **settings)


def classifier(backbone: str = CNN, side: int = 32, seed: int = 0, **settings: Any) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(architecture(backbone, side, **settings))


def images(count: int = 2, side: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def same_state(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


# --- what a network says -----


@pytest.mark.parametrize(
    ("backbone", "side", "channels", "map_side", "embedding"),
    [
        ("test_resnet", 64, 96, 2, 96),
        ("test_efficientnet", 64, 256, 2, 256),
        ("mobilenetv3_small_050", 64, 288, 2, 1024),  # its embedding is wider than its map
        ("test_convnext", 64, 64, 2, 64),
        ("test_vit", 64, 64, 4, 64),  # tokens, one of them for the class
        ("test_vit3", 64, 96, 4, 96),  # tokens and pooling
        ("swin_tiny_patch4_window7_224", 64, 768, 2, 768),  # channels last
    ],
)
def test_every_kind_of_backbone_says_all(
    backbone: str, side: int, channels: int, map_side: int, embedding: int
) -> None:
    network = classifier(backbone, side, projection=8).eval()
    with torch.no_grad():
        output = network(images(2, side))
        directly = network.backbone((images(2, side) - network.mean) / network.std)
    assert output.logits.shape == (2, 3)
    assert output.feature_map.shape == (2, channels, map_side, map_side)
    assert output.embedding.shape == (2, embedding)
    assert (network.channels, network.embedding_size) == (channels, embedding)
    assert output.projection is not None
    assert output.projection.shape == (2, 8)
    torch.testing.assert_close(output.projection.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(output.logits, directly)
    torch.testing.assert_close(network.classifier(output.embedding), output.logits)


def test_without_a_head_there_is_no_projection() -> None:
    assert classifier()(images()).projection is None


def test_tokens_become_a_map_that_keeps_its_places() -> None:
    """A patch's token lies where the patch lies, the class token nowhere."""
    network = classifier("test_vit", 64).eval()
    tokens = torch.arange(1 + 16).float().view(1, 17, 1).expand(1, 17, 64)
    assert network._as_map(tokens)[0, 0].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]


def test_a_channels_last_map_keeps_its_places() -> None:
    network = classifier("swin_tiny_patch4_window7_224", 64).eval()
    places = torch.arange(4.0).view(1, 2, 2, 1).expand(1, 2, 2, 768)
    assert network._as_map(places)[0, 0].tolist() == [[0, 1], [2, 3]]


def test_images_are_normalised_by_the_networks_own_statistics() -> None:
    network = classifier().eval()
    seen = []
    network.backbone.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(images())
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in normalisation(CNN))
    torch.testing.assert_close(seen[0], (images() - mean) / std)


def test_statistics_are_those_of_the_backbones_weights() -> None:
    assert normalisation("mobilenetv2_100") == (timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD)
    assert normalisation("test_resnet") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert normalisation("test_resnet") != normalisation("mobilenetv2_100")


@pytest.mark.parametrize("backbone", [CNN, "test_vit", "test_convnext"])
def test_dropout_acts_while_training_only(backbone: str) -> None:
    network = classifier(backbone, 64, dropout=0.5)
    network.train()
    torch.manual_seed(0)
    first = network(images(4, 64)).logits
    torch.manual_seed(1)
    assert not torch.equal(first, network(images(4, 64)).logits)
    network.eval()
    assert torch.equal(network(images(4, 64)).logits, network(images(4, 64)).logits)


def test_measuring_leaves_no_trace() -> None:
    network = classifier()
    assert network.training
    assert network.backbone.bn1.num_batches_tracked == 0


@pytest.mark.parametrize("backbone", ["test_efficientnet", "mobilenetv2_050"])
def test_first_logits_are_small_whatever_the_number_of_classes(backbone: str) -> None:
    bound = 1 / classifier(backbone).embedding_size ** 0.5
    assert classifier(backbone).classifier.weight.abs().max() <= bound


@pytest.mark.parametrize(
    ("backbone", "side", "said"),
    [
        ("test_resnt", 32, ["test_resnt", "Did you mean 'test_resnet'"]),
        ("test_vit", 56, ["test_vit", "56", "image_size"]),
        ("resnet18.no_such_tag", 32, ["resnet18.no_such_tag"]),
        ("levit_128s", 64, ["levit_128s"]),  # two classifiers
        ("dla34", 64, ["dla34"]),  # its classifier is a convolution
    ],
)
def test_a_backbone_that_cannot_serve_is_named(backbone: str, side: int, said: list[str]) -> None:
    with pytest.raises(PreceptorError) as caught:
        build_networks({"student": Network(backbone=backbone)}, CLASSES, side, 0)
    assert all(part in str(caught.value) for part in said), str(caught.value)


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
    wanted = {"student": Network(backbone=CNN, pretrained=str(tmp_path / f"weights{suffix}"))}
    networks, starts = build_networks(wanted, CLASSES, 32, 0)
    fresh, _ = build_networks({"student": Network(backbone=CNN)}, CLASSES, 32, 0)
    own, random = networks["student"].backbone.state_dict(), fresh["student"].backbone.state_dict()
    for key, value in own.items():
        assert torch.equal(value, random[key] if key.startswith("fc.") else source[key]), key
    assert starts["student"] == f"file weights{suffix}"


def test_a_classifier_of_as_many_classes_comes_along(tmp_path: Path) -> None:
    source = backbone_file(tmp_path / "w.safetensors", num_classes=3)
    networks, _ = build_networks(
        {"student": Network(backbone=CNN, pretrained=str(tmp_path / "w.safetensors"))}, CLASSES, 32, 0
    )
    assert torch.equal(networks["student"].classifier.weight, source.fc.weight)


def test_a_transformers_weights_fit_another_image_size(tmp_path: Path) -> None:
    """Its table of positions is resampled; all else is taken as it is."""
    source = backbone_file(tmp_path / "w.safetensors", "test_vit").state_dict()
    wanted = {"student": Network(backbone="test_vit", pretrained=str(tmp_path / "w.safetensors"))}
    networks, _ = build_networks(wanted, CLASSES, 64, 0)
    own = networks["student"].backbone.state_dict()
    assert source["pos_embed"].shape != own["pos_embed"].shape
    assert torch.equal(own["blocks.0.attn.qkv.weight"], source["blocks.0.attn.qkv.weight"])
    torch.testing.assert_close(own["pos_embed"].mean(), source["pos_embed"].mean(), atol=0.02, rtol=0)


def test_a_start_from_nothing_says_so() -> None:
    assert build_networks({"student": Network(backbone=CNN)}, CLASSES, 32, 0)[1] == {"student": "random"}


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
        build_networks({"student": Network(backbone=CNN, pretrained="imagenet")}, CLASSES, 32, 0)
    said = str(caught.value)
    for part in ("imagenet", CNN, ".pretrained=none", ".safetensors"):
        assert part in said
    assert len(said.splitlines()) == 3


def test_the_hubs_weights_are_loaded_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    hub = timm.create_model(CNN)
    create = timm.create_model

    def from_hub(name: str, pretrained: bool = False, **said: Any) -> nn.Module:
        return hub if pretrained else create(name, **said)

    monkeypatch.setattr(timm, "create_model", from_hub)
    networks, starts = build_networks({"student": Network(backbone=CNN, pretrained="imagenet")}, CLASSES, 32, 0)
    assert torch.equal(networks["student"].backbone.conv1[0].weight, hub.conv1[0].weight)
    assert starts["student"].startswith("ImageNet")


@pytest.mark.skipif("PRECEPTOR_DATA" not in os.environ, reason="needs the shared weights")
def test_the_shared_imagenet_weights_fit_mobilenetv2() -> None:
    path = Path(os.environ["PRECEPTOR_DATA"]) / "mobilenetv2_100_imagenet.safetensors"
    wanted = {"teacher": Network(backbone="mobilenetv2_100", pretrained=str(path))}
    networks, starts = build_networks(wanted, CLASSES, 64, 0)
    weights = read_weights(path)
    own = networks["teacher"].backbone.state_dict()
    shared = [key for key in own if key in weights and not key.startswith("classifier.")]
    assert len(shared) > 250
    for key in shared:
        torch.testing.assert_close(own[key], weights[key], check_dtype=False, rtol=0, atol=0)
    assert starts["teacher"] == "file mobilenetv2_100_imagenet.safetensors"


# --- the same start whatever stands beside -----


def test_a_start_depends_on_seed_and_name_alone() -> None:
    student, other = Network(backbone=CNN, projection=4), Network(backbone="test_efficientnet")
    alone, _ = build_networks({"student": student}, CLASSES, 32, seed=5)
    torch.manual_seed(99)
    beside, _ = build_networks(
        {"other": other, "student": student, "teacher": Network(mean_of="student")}, CLASSES, 32, seed=5
    )
    assert list(beside) == ["other", "student", "teacher"]
    assert same_state(alone["student"], beside["student"])
    another_seed, _ = build_networks({"student": student}, CLASSES, 32, seed=6)
    another_name, _ = build_networks({"pupil": student}, CLASSES, 32, seed=5)
    for different in (another_seed["student"], another_name["pupil"]):
        assert not torch.equal(different.classifier.weight, alone["student"].classifier.weight)


def test_building_leaves_the_global_stream_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    build_networks({"student": Network(backbone=CNN), "teacher": Network(mean_of="student")}, CLASSES, 32, 0)
    assert torch.equal(torch.rand(1), expected)


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
    assert [one.name for one in path.parent.iterdir()] == ["student.safetensors"]  # no temporary file stays


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
    one = run_with(tmp_path / "one", "student")
    assert find_network(one, "teacher", "key") == one / "student.safetensors"


def test_a_run_without_the_network_is_named(tmp_path: Path) -> None:
    both = run_with(tmp_path / "both", "student", "teacher")
    with pytest.raises(PreceptorError, match=r"networks\.tutor\.run: .*student, teacher, none called 'tutor'"):
        find_network(both, "tutor", "networks.tutor.run")
    (tmp_path / "unfinished").mkdir()
    with pytest.raises(PreceptorError, match="holds no finished network") as caught:
        find_network(tmp_path / "unfinished", "student", "key")
    assert "preceptor resume" in caught.value.remedy
    with pytest.raises(PreceptorError, match="there is no run at"):
        find_network(tmp_path / "nowhere", "student", "key")


def test_a_frozen_network_is_the_one_in_the_file_and_takes_no_gradient(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", "teacher")
    wanted = {"teacher": Network(run=str(run), frozen=True), "student": Network(run=str(run))}
    networks, starts = build_networks(wanted, CLASSES, 32, 0)
    assert same_state(networks["teacher"], load_network(run / "teacher.safetensors")[0])
    assert not any(parameter.requires_grad for parameter in networks["teacher"].parameters())
    assert all(parameter.requires_grad for parameter in networks["student"].parameters())
    assert starts["teacher"] == "run run/teacher.safetensors"


@pytest.mark.parametrize(
    ("said", "classes", "named"),
    [
        ({}, ("mel", "nv"), "mel, nv, bcc"),
        ({}, ("nv", "mel", "bcc"), "nv, mel, bcc"),  # another order is another meaning of the logits
        ({"backbone": "resnet18"}, CLASSES, "test_resnet, not a resnet18"),
        ({"projection": 16}, CLASSES, "projection 8, not 16"),
    ],
)
def test_a_run_of_something_else_is_refused(said: Any, classes: tuple[str, ...], named: str, tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", "teacher")
    with pytest.raises(PreceptorError) as caught:
        build_networks({"teacher": Network(run=str(run), frozen=True, **said)}, classes, 32, 0)
    assert "networks.teacher.run" in str(caught.value)
    assert named in str(caught.value)


# --- the mean teacher -----


def move(student: Classifier, step: int) -> None:
    """What an optimiser's step and a training pass leave behind: other weights, other batch-norm statistics."""
    random = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for tensor in (*student.parameters(), *student.buffers()):
            if tensor.is_floating_point():
                tensor.add_(torch.randn(tensor.shape, generator=random) * 0.1)


def followed(batch_norm: Any, decay: float = 0.8, steps: int = 12) -> tuple[Classifier, MeanTeacher, dict, dict]:
    """A teacher after some steps; its backbone at the start; and what the formula makes of it, in float64."""
    student = classifier(projection=4)
    teacher = MeanTeacher(student, decay, batch_norm)
    start = {key: value.clone() for key, value in teacher.network.backbone.state_dict().items()}
    literal = {key: value.double() for key, value in start.items()}
    for step in range(steps):
        move(student, step)
        teacher.update(student, step)
        alpha = min(1 - 1 / (step + 1), decay)
        for key, value in student.backbone.state_dict().items():
            literal[key] = alpha * literal[key] + (1 - alpha) * value.double()
    return student, teacher, start, literal


@pytest.mark.parametrize("batch_norm", ["averaged", "batch"])
def test_the_average_is_its_formula(batch_norm: str) -> None:
    student, teacher, start, literal = followed(batch_norm)
    statistics = [key for key in start if "running_" in key]
    assert statistics
    for key, value in teacher.network.backbone.state_dict().items():
        if "num_batches_tracked" in key:
            continue
        if key in statistics and batch_norm == "batch":
            assert torch.equal(value, start[key]), f"{key} is the teacher's own"
        else:
            torch.testing.assert_close(value.double(), literal[key], rtol=1e-5, atol=1e-6, msg=key)
            assert not torch.allclose(value, student.backbone.state_dict()[key])


def test_after_the_first_step_the_teacher_is_the_student() -> None:
    student, teacher, _, _ = followed("averaged", steps=1)
    assert same_state(teacher.network.backbone, student.backbone)


def test_the_projection_head_is_the_teachers_own() -> None:
    student = classifier(projection=4)
    torch.manual_seed(1)
    teacher = MeanTeacher(student, 0.9)
    assert not torch.equal(teacher.network.projection.linear.weight, student.projection.linear.weight)
    before = copy.deepcopy(teacher.network.projection.state_dict())
    move(student, 0)
    teacher.update(student, 0)
    after = teacher.network.projection.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("batch_norm", ["averaged", "batch"])
def test_gradient_reaches_the_teachers_head_and_nothing_else(batch_norm: Any) -> None:
    student = classifier(projection=4)
    teacher = MeanTeacher(student, 0.9, batch_norm).train()
    output = teacher(images(4))
    assert not output.logits.requires_grad
    assert not output.embedding.requires_grad
    (output.projection[:, 0].sum() + output.projection[:, 1].square().sum()).backward()
    assert [n for n, p in teacher.named_parameters() if p.requires_grad] == [
        "network.projection.linear.weight", "network.projection.linear.bias",
    ]  # fmt: skip
    assert teacher.network.projection.linear.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.network.backbone.parameters())
    assert all(parameter.grad is None for parameter in student.parameters())


def test_an_averaged_teacher_always_runs_in_evaluation_mode() -> None:
    teacher = MeanTeacher(classifier(), 0.9, "averaged").train()
    assert teacher.training
    before = copy.deepcopy(teacher.network.backbone.state_dict())
    whole = teacher(images(4)).logits
    assert same_state(teacher.network.backbone, load_into(teacher.network.backbone, before))
    torch.testing.assert_close(whole[:1], teacher(images(4)[:1]).logits)  # an image's logits stand alone


def test_a_batch_teacher_trains_on_the_batch_and_is_evaluated_on_its_own_statistics() -> None:
    teacher = MeanTeacher(classifier(), 0.9, "batch").train()
    before = teacher.network.backbone.bn1.running_mean.clone()
    whole = teacher(images(4)).logits
    assert not torch.allclose(whole[:2], teacher(images(4)[:2]).logits, atol=1e-4)
    assert not torch.equal(before, teacher.network.backbone.bn1.running_mean)
    teacher.eval()
    kept = teacher.network.backbone.bn1.running_mean.clone()
    torch.testing.assert_close(teacher(images(4)).logits[:2], teacher(images(4)[:2]).logits)
    assert torch.equal(kept, teacher.network.backbone.bn1.running_mean)


def load_into(like: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    other = copy.deepcopy(like)
    other.load_state_dict(state)
    return other


def test_a_teacher_takes_decay_and_treatment_from_its_recipe() -> None:
    wanted = {
        "student": Network(backbone=CNN),
        "teacher": Network(mean_of="student", decay=0.5, batch_norm="batch"),
    }
    networks, starts = build_networks(wanted, CLASSES, 32, 0)
    teacher = networks["teacher"]
    assert isinstance(teacher, MeanTeacher)
    assert (teacher.decay, teacher.batch_norm) == (0.5, "batch")
    assert starts["teacher"] == "mean of student"
    assert same_state(teacher.network, networks["student"])
