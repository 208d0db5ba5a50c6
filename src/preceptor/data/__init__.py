"""From a folder on disk to batches of pixels: readers, the catalog, its audit and split, the pixel cache, views.

A reader turns a published layout into a :class:`~preceptor.data.catalog.Catalog` (which images there are, and what is
known of each); the split assigns its images to parts; the cache decodes them once; views are drawn from the cached
pixels on the training device. May import :mod:`preceptor.utils`, numpy, pandas, Pillow and torch. Never knows networks,
losses, recipes or runs.
"""
