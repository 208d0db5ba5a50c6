"""Networks: classifiers and U-Nets on timm backbones, mean teachers, memory banks, and the files that hold them.

Holds what turns images into a ``NetworkOutput`` and what belongs to a network (heads, banks, its running mean). May
import ``recipe``, which says what to build, ``data`` and ``utils``. Never knows losses, data sets, runs or which method
trains it.
"""
