"""DICOM files in one folder for each class; patients are told apart by PatientID, which is not kept."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.dicom import DICOM_SUFFIXES, instance_name, patient_group
from preceptor.data.layout import no_such_layout
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError

_LAYOUT = "a folder for each class with DICOM files (.dcm), sub-folders included"


@reader(
    "dicom",
    layout=_LAYOUT,
    about=About(
        "your own DICOM files, one folder per class", tasks=("classification",), groups="patient (hashed PatientID)"
    ),
)
def dicom(root: Path, frame: int | None = None, window: str = "") -> Catalog:
    """Images of the classes that the folders are called; images of one patient form a group.

    Ids and groups are hashes of SOPInstanceUID and PatientID: nothing that names a person leaves the files. Files keep
    their names on disk, which runs do not repeat.

    Args:
        root: the folder that holds the class folders.
        frame: which frame of every file, from 0; needed where files have several.
        window: explanation or number of one of each file's windows, or ``CENTRE/WIDTH``.

    Raises:
        PreceptorError: no class folders, fewer than two of them, or a file without PatientID or SOPInstanceUID.
    """
    classes = sorted(path.name for path in root.iterdir() if path.is_dir() and _files(path))
    if not classes:
        raise no_such_layout(root, "CLASS/*.dcm", "the data set", _LAYOUT)
    if len(classes) == 1:
        raise PreceptorError(f"{root}: holds one class, {classes[0]}", expected=_LAYOUT)
    chosen = [f"frame={frame}"] * (frame is not None) + [f"window={window}"] * bool(window)
    settings = f"::{','.join(chosen)}" if chosen else ""
    rows = [
        {
            "id": instance_name(file),
            "image": f"{file.relative_to(root).as_posix()}{settings}",
            "label": name,
            "group": patient_group(file),
        }
        for name in classes
        for file in _files(root / name)
    ]
    return Catalog("dicom", root, pd.DataFrame(rows), tuple(classes))


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in DICOM_SUFFIXES and file.is_file())
