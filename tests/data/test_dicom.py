"""DICOM: the pixels a viewer shows, refusals that name the tag, and no patient in what a run keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from pydicom.data import get_testdata_file  # noqa: E402
from pydicom.pixels import apply_modality_lut, apply_windowing, pixel_array  # noqa: E402

from preceptor import train  # noqa: E402
from preceptor.data.dicom import patient_group, read_dicom  # noqa: E402
from preceptor.data.images import read_header, read_image  # noqa: E402
from preceptor.data.readers import read  # noqa: E402
from preceptor.utils.errors import PreceptorError  # noqa: E402
from small_dicom import SECRET, write  # noqa: E402


def ramp(dtype: type = np.uint8, size: int = 16) -> np.ndarray:
    return np.arange(size * size, dtype=dtype).reshape(size, size)


def test_values_of_8_bits_are_taken_as_stored(tmp_path: Path) -> None:
    file = write(tmp_path / "a.dcm", ramp())
    image = read_image(file)
    assert (image.shape, image.dtype) == ((16, 16, 3), np.uint8)
    assert (image == ramp()[..., None]).all()
    assert (read_header(file).width, read_header(file).height) == (16, 16)


def test_monochrome1_is_inverted_and_padding_is_black(tmp_path: Path) -> None:
    file = write(tmp_path / "a.dcm", ramp(), PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=7)
    expected = np.where(ramp() == 7, 0, 255 - ramp())
    assert (read_dicom(file)[..., 0] == expected).all()


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_are_those_of_pydicom(tmp_path: Path, function: str) -> None:
    file = write(
        tmp_path / "a.dcm", ramp(np.int16, 32) - 300, WindowCenter=100, WindowWidth=350, VOILUTFunction=function,
        RescaleSlope=2, RescaleIntercept=-10,
    )  # fmt: skip
    dataset = pydicom.dcmread(file)
    values = apply_windowing(apply_modality_lut(pixel_array(dataset), dataset), dataset)
    ends = (2.0 * -(2**15) - 10, 2.0 * (2**15 - 1) - 10)  # what pydicom spreads the window over
    expected = (values - ends[0]) / (ends[1] - ends[0]) * 255
    assert np.abs(read_dicom(file)[..., 0] - expected).max() <= 0.51


def test_one_of_several_windows_must_be_named(tmp_path: Path) -> None:
    windows = {"WindowCenter": [40, 300], "WindowWidth": [80, 600], "WindowCenterWidthExplanation": ["BRAIN", "BONE"]}
    file = write(tmp_path / "a.dcm", ramp(np.int16, 24), **windows)
    with pytest.raises(PreceptorError, match=r"WindowCenter \(0028,1050\) offers BRAIN, BONE") as caught:
        read_dicom(file)
    assert "::window=BRAIN" in caught.value.expected
    bone = read_dicom(file, window="BONE")
    assert (bone == read_image(Path(f"{file}::window=BONE"))).all()
    assert (bone == read_dicom(file, window="300/600")).all()
    assert (bone != read_dicom(file, window="0")).any()
    with pytest.raises(PreceptorError, match=r"WindowCenterWidthExplanation \(0028,1055\) has no 'LUNG'"):
        read_dicom(file, window="LUNG")


def test_deep_values_without_a_window_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match=r"WindowCenter \(0028,1050\) is missing"):
        read_dicom(write(tmp_path / "a.dcm", ramp(np.uint16)))


def test_one_of_several_frames_must_be_named(tmp_path: Path) -> None:
    frames = np.stack([ramp(), 255 - ramp()])
    file = write(tmp_path / "a.dcm", frames)
    with pytest.raises(PreceptorError, match=r"NumberOfFrames \(0028,0008\) is 2") as caught:
        read_dicom(file)
    assert caught.value.expected == "a named frame: a.dcm::frame=0 to 1"
    assert (read_image(Path(f"{file}::frame=1"))[..., 0] == frames[1]).all()
    with pytest.raises(PreceptorError, match="there is no frame 2"):
        read_dicom(file, frame=2)


@pytest.mark.parametrize("name", ["SC_rgb_rle.dcm", "examples_palette.dcm", "SC_ybr_full_422_uncompressed.dcm"])
def test_colours_of_pydicoms_files(name: str) -> None:
    file = get_testdata_file(name, download=False)
    if file is None:
        pytest.skip(f"pydicom came without {name}")
    dataset, image = pydicom.dcmread(file), read_dicom(Path(file))
    assert image.shape == (dataset.Rows, dataset.Columns, 3)
    assert image.dtype == np.uint8
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 4


def test_grey_of_pydicoms_files() -> None:
    """A CT without a window is refused; through one it is between black and white."""
    file = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    with pytest.raises(PreceptorError, match="WindowCenter"):
        read_dicom(file)
    image = read_dicom(file, window="40/400")
    assert (image.min(), image.max()) == (0, 255)
    assert (image[..., 0] == image[..., 2]).all()


@pytest.mark.parametrize(
    ("name", "tag"), [("rtplan.dcm", r"PixelData \(7FE0,0010\)"), ("test-SR.dcm", r"PixelData \(7FE0,0010\)")]
)
def test_what_is_no_image_is_refused_by_its_tag(name: str, tag: str) -> None:
    with pytest.raises(PreceptorError, match=tag):
        read_dicom(Path(str(get_testdata_file(name, download=False))))


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.dcm", ramp())
    (tmp_path / "text.dcm").write_text("no DICOM")
    with pytest.raises(PreceptorError, match="is not a DICOM file"):
        read_dicom(tmp_path / "text.dcm")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(PreceptorError, match="a\\.dcm"):
        read_dicom(file)
    odd = write(tmp_path / "odd.dcm", ramp(), PhotometricInterpretation="HSV")
    with pytest.raises(PreceptorError, match=r"PhotometricInterpretation \(0028,0004\) is HSV"):
        read_dicom(odd)
    with pytest.raises(PreceptorError, match="is not a setting"):
        read_dicom(Path(f"{odd}::slice=3"))


def test_a_patient_is_a_hash_and_must_be_known(tmp_path: Path) -> None:
    first, second = (write(tmp_path / f"{name}.dcm", ramp()) for name in "ab")
    assert patient_group(first) == patient_group(second)
    assert "12345" not in patient_group(first)
    with pytest.raises(PreceptorError, match=r"PatientID \(0010,0020\) is missing"):
        patient_group(write(tmp_path / "c.dcm", ramp(), PatientID=""))


def test_nothing_personal_reaches_a_run(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for index in range(60):
        name, level = ("benign", 60) if index % 2 else ("malignant", 160)
        pixels = (draw.normal(level, 20, (40, 40)).clip(0, 255)).astype(np.uint8)
        tags = {"PatientID": f"SECRET-{index // 2 * 2 + index % 2}", "PatientName": f"{SECRET}^{index}"}
        write(tmp_path / "data" / name / f"{index}.dcm", pixels, **tags)
    catalog = read("dicom", tmp_path / "data")
    assert catalog.table["group"].nunique() == 60
    settings = {
        "image_size": 32, "batch_size": 16, "epochs": 1,
        "networks.student.backbone": "test_resnet", "networks.student.pretrained": "none",
    }  # fmt: skip
    run = train("student", data="dicom", root=tmp_path / "data", out=tmp_path / "run", overrides=settings)
    for file in run.path.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert SECRET.encode() not in content, file
            assert b"SECRET-" not in content, file
