"""The functions that Python users and the command line call: ``train``, ``resume``, ``evaluate``, ``predict``, ….

May import every room but ``cli``. Never parses a command line, and prints nothing but progress.
"""

from preceptor.api.training import carry_on, decoder, load, train
from preceptor.deploy.export.write import export

__all__ = ["carry_on", "decoder", "export", "load", "train"]
