"""Files and folders that operating systems, file servers and notebooks leave among images."""

from __future__ import annotations

_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})
_FOLDERS = frozenset(
    {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "thumbnails",
     "__pycache__"}
)  # fmt: skip


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or of those that no person made.

    >>> [is_litter(name) for name in (".DS_Store", "@eaDir", "Thumbs.db", "img_1.png")]
    [True, True, True, False]
    """
    return name.startswith(".") or name.lower() in _FILES or name.lower() in _FOLDERS
