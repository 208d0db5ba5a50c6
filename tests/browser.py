"""What a real browser makes of a page: headless Chromium, where it is installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
# A frame, since a window has a least width of its own. Pictures inside drawings do not say whether they could be
# read, so each is tried once more beside it. All is over with the load event: nothing has to be waited for.
_AROUND = """<!doctype html><title>page</title>
<iframe id="page" style="width: {width}px; height: 900px; border: 0" srcdoc="{page}"></iframe>
{probes}
<script>
addEventListener("load", () => {{
  const shown = document.getElementById("page").contentDocument;
  const width = shown.documentElement.clientWidth, wide = [];
  const pictures = [...shown.querySelectorAll("img"), ...document.querySelectorAll("img")];
  for (const one of shown.querySelectorAll("body *")) {{
    const box = one.getBoundingClientRect();
    if (!one.closest(".scroll, pre, details:not([open])") && (box.right > width + 1 || box.left < -1))
      wide.push(one.tagName + "." + (one.getAttribute("class") ?? "") + " to " + Math.round(box.right));
  }}
  const said = document.createElement("meta");
  said.id = "said";
  said.content = JSON.stringify({{
    width, wide, page: shown.documentElement.scrollWidth, pictures: pictures.length,
    missing: pictures.filter(one => !one.naturalWidth).map(one => one.outerHTML.slice(0, 80)),
  }});
  document.head.append(said);
}});
</script>
"""


def measure_page(page: Path, width: int, scratch: Path) -> dict[str, Any]:
    """Opens a page ``width`` px wide.

    Returns:
        ``width`` of what it is shown in and of the ``page``, how many ``pictures`` there are, those that are
        ``missing``, and the elements that stick out (``wide``); what scrolls by itself may.
    """
    around = scratch / f"{page.stem}-{width}.html"
    text = page.read_text(encoding="utf-8")
    probes = "".join(f'<img src="{item}">' for item in re.findall(r'<image[^>]*? href="([^"]*)"', text))
    around.write_text(_AROUND.format(width=width, page=escape(text), probes=probes), encoding="utf-8")
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={scratch / f'profile-{width}'}", "--window-size=1400,1000",
        "--dump-dom", around.resolve().as_uri(),
    ]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    content = re.search(r'<meta id="said" content="([^"]*)"', shown)
    assert content, "the page's script did not end"
    return json.loads(unescape(content[1]))
