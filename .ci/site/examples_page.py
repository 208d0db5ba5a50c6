"""The examples as a page: scripts whole, notebooks as text and code."""

from __future__ import annotations

import json
from pathlib import Path

_FOLDER = Path(__file__).parents[2] / "examples"


def pages() -> dict[str, str]:
    """File → Markdown."""
    parts = [
        "# Examples",
        "The tests run all of them, so that they work with this version. They lie in `examples/` of the repository.",
    ]
    for script in sorted(_FOLDER.glob("*.py")):
        parts += [f"## {_title(script.stem)}", f"```python\n{script.read_text(encoding='utf-8').strip()}\n```"]
    parts += ["## A plug-in package", "`pip install ./examples/plugin` adds a loss, a recipe and a metric."]
    for file in [_FOLDER / "plugin" / "pyproject.toml", *sorted((_FOLDER / "plugin" / "src").rglob("*.py"))]:
        language = "toml" if file.suffix == ".toml" else "python"
        name = file.relative_to(_FOLDER).as_posix()
        parts += [f'```{language} title="{name}"\n{file.read_text(encoding="utf-8").strip()}\n```']
    result = {"examples.md": "\n\n".join(parts) + "\n"}
    for notebook in sorted((_FOLDER / "notebooks").glob("*.ipynb")):
        result[f"notebooks/{notebook.stem}.md"] = _notebook(notebook)
    return result


def _title(stem: str) -> str:
    return stem.replace("_", " ").replace("kd ", "KD ").capitalize().replace("Kd", "KD")


def _notebook(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = [
        "".join(cell["source"]) if cell["cell_type"] == "markdown" else f"```python\n{''.join(cell['source'])}\n```"
        for cell in cells
    ]
    return "\n\n".join([text[0], f"The notebook is `examples/notebooks/{path.name}`.", *text[1:]]) + "\n"
