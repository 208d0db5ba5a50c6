"""Synthetic dermoscopy: seven classes, a long tail, several photographs of one lesion, masks, difficulty knobs."""

from preceptor.data.phantom.draw import (
    CLASSES,
    KNOBS_FILE,
    TABLE_FILE,
    Phantom,
    differing,
    load_knobs,
    write_phantom,
)

__all__ = ["CLASSES", "KNOBS_FILE", "TABLE_FILE", "Phantom", "differing", "load_knobs", "write_phantom"]
