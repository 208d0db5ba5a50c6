"""The environment of every page: templates, style, filters, and how a page is written."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from preceptor.report import formatting
from preceptor.report.run_text import description, is_busy
from preceptor.runs.marks import NOT_EVIDENCE
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_text


def render(template: str, contents: dict[str, Any], *styles: str) -> str:
    """Fill a template; names from data are escaped wherever they stand.

    Args:
        template: file name in ``templates``.
        contents: its variables.
        styles: further style sheets there, after ``style.css``.
    """
    environment = Environment(
        loader=PackageLoader("preceptor.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**formatting.FILTERS, "description": description, "busy": is_busy}
    style = Markup("\n".join(_text(name) for name in ("style.css", *styles)))
    return environment.get_template(template).render(quick_mark=NOT_EVIDENCE, style=style, **contents)


def write_page(path: Path, text: str) -> Path:
    """Write a file of a report, replacing it as a whole.

    Raises:
        PreceptorError: it cannot be written.
    """
    try:
        write_text(path, text)
    except OSError as error:
        raise PreceptorError(
            f"{path} cannot be written: {error.strerror}", remedy="choose another place with --out"
        ) from error
    return path


def _text(name: str) -> str:
    return files("preceptor.report").joinpath("templates", name).read_text(encoding="utf-8")
