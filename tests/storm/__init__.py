"""The storm: commands that are killed or run out of disk, and inputs that are damaged, some hundreds of each.

It is run apart from the tests, from the root of the repository: ``python -m tests.storm kills --count 100``,
``python -m tests.storm signals --count 20`` and ``python -m tests.storm mutants --count 1000``. ``docs/reliability.md``
keeps what it last counted.
"""
