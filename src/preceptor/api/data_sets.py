"""``check_data``: what a data set holds, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from preceptor.api.inputs import (
    ExcludeLike,
    OverridesLike,
    PathLike,
    announce,
    counting,
    excluded_ids,
    optional_path,
    reader_options,
    shows_progress,
    text,
)
from preceptor.data.policy import POLICIES
from preceptor.utils.errors import PreceptorError, did_you_mean
from preceptor.utils.extras import require_training
from preceptor.utils.files import SHEET_MARK, refuse_foreign
from preceptor.utils.imports import import_files

if TYPE_CHECKING:
    from pathlib import Path

    from preceptor.data.catalog import Catalog
    from preceptor.data.check import DataReport


def check_data(
    data: str,
    root: PathLike | None = None,
    overrides: OverridesLike | None = (),
    *,
    exclude: ExcludeLike | None = (),
    preview: PathLike | None = None,
    policy: Sequence[str] = (),
    image_size: int = 112,
    cache: PathLike | None = None,
    duplicates: bool = False,
    groups: PathLike | None = None,
    imports: Iterable[PathLike] = (),
    progress: bool | None = None,
) -> DataReport:
    """Look through all files of a data set: layout, counts per class, unreadable files, groups.

    Args:
        data: a reader's name, such as ``ham10000``.
        root: the data set's folder (or table).
        overrides: options of the reader, ``data.key=value``.
        exclude: ids to leave out, or a file with one per line.
        preview: where to write a contact sheet of the views (PNG), if all images can be read.
        policy: view policies in the contact sheet; all unless given.
        image_size: side of the previewed views, in pixels.
        cache: where decoded images are kept.
        duplicates: search for near-duplicates, by a perceptual hash.
        groups: where to write a CSV file (id, group) that joins the groups of near-duplicates; the reader's option
            ``data.groups_csv`` takes it.
        imports: Python files that register a reader.
        progress: whether to show progress; in a terminal or notebook unless given.

    Raises:
        PreceptorError: an unknown reader, option or policy, no such folder, a preview that cannot be written.
    """
    import_files(imports)
    data = text("data", data, "a reader's name, such as ham10000")
    for name in policy:
        if name not in POLICIES:
            raise PreceptorError(
                f"--policy {name}: no such policy.{did_you_mean(name, POLICIES)}",
                expected="one of " + ", ".join(POLICIES),
            )
    options, ids, shown = reader_options(overrides, data), excluded_ids(exclude), shows_progress(progress)
    folder, sheet = optional_path(root), optional_path(preview)
    if sheet is not None:
        refuse_foreign(sheet, [SHEET_MARK], "--preview")
        require_training()  # views are drawn by torch
    groups_file = optional_path(groups)
    if groups_file is not None:
        refuse_foreign(groups_file, [b"id,group\n"], "--groups")
    announce(f"reading {folder or data}", shown)
    from preceptor.data.check import check
    from preceptor.data.readers import read

    catalog = read(data, folder, options)
    catalog = catalog.without(ids) if ids else catalog
    with counting("reading images", len(catalog), shown) as move:
        report = check(catalog, progress=move)
    if duplicates or groups_file is not None:
        report = _with_near_duplicates(report, catalog, groups_file, shown)
    if sheet is not None and report.ok:
        from preceptor.data.cache import open_pixels
        from preceptor.data.preview import contact_sheet

        pixels = open_pixels(catalog, image_size, masks=catalog.has_masks, directory=optional_path(cache))
        chosen = {name: POLICIES[name] for name in policy or POLICIES if name != "plain"}
        contact_sheet(pixels, catalog, chosen, sheet)
    return report


def _with_near_duplicates(report: DataReport, catalog: Catalog, groups: Path | None, shown: bool) -> DataReport:
    """Add what a search for near-duplicates tells, and write the groups that it offers."""
    from preceptor.data.near_duplicates import near_duplicates

    with counting("comparing images", len(catalog), shown) as move:
        result = near_duplicates(catalog, progress=move)
    lines = result.lines()
    if groups is not None:
        result.write_groups(groups)
        lines.append(f"groups that keep near-duplicates together: {groups} (data.groups_csv={groups} takes them)")
    return replace(report, near_duplicates=tuple(lines))
