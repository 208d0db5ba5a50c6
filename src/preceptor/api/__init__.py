"""The functions that Python users and the command line call: ``train``, ``resume``, ``evaluate``, ``predict``, ….

May import every room but ``cli``. Never parses a command line, and prints nothing but progress. Its modules import
torch inside their functions, once names, keys and folders have been checked; ``preceptor.train`` is
``preceptor.api.training.train``.
"""
