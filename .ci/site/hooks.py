"""Hooks of mkdocs: pages that are generated from the code, so that none of them can be out of date."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import examples_page
import method_pages
import reference
from mkdocs.structure.files import File, Files

_ROLE = re.compile(r":(?:class|func|data|meth|mod|attr):(?:<code>|`)~?([\w.]+)(?:</code>|`)")
_FOLDER = re.compile(r"\[([^\]]+)\]\([\w./-]+/\)")
_OUTSIDE = re.compile(r"\]\((?:\.\./)+(CONTRIBUTING\.md|CHANGELOG\.md|CITATION\.cff|LICENSE|README\.md)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages to those of ``docs``."""
    for name, text in {**reference.pages(), **method_pages.pages(), **examples_page.pages()}.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Name folders, and files of the repository that are no pages, in place of links to them."""
    return _FOLDER.sub(r"\1", _OUTSIDE.sub(r"] (`\1`)", markdown))


def on_page_content(html: str, **_: Any) -> str:
    """Show Sphinx's roles, which docstrings have, as code."""
    return _ROLE.sub(lambda match: f"<code>{match[1].rsplit('.', 1)[-1]}</code>", html)
