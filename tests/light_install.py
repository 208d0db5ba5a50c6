"""Python without the packages of the extra ``train``, as after ``pip install 'preceptor[inference]'``."""

#: Put before a program: importing those packages raises, and looking for them yields nothing.
LIGHT_INSTALL = """
import sys
from importlib.machinery import PathFinder
from preceptor.utils.extras import TRAINING

class WithoutTraining(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in TRAINING else super().find_spec(name, path, target)

sys.meta_path = [WithoutTraining if finder is PathFinder else finder for finder in sys.meta_path]
"""
