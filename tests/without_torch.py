"""Python in which torch cannot be imported, for what must answer before it is."""

from __future__ import annotations

#: Put before a program: importing torch, or what imports it, raises.
WITHOUT_TORCH = """
import sys
from importlib.machinery import ModuleSpec

class Blocker:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name in ("torch", "timm", "lightning_fabric") else None

    def create_module(self, spec):
        raise RuntimeError(f"{spec.name} is imported")

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Blocker())
"""
