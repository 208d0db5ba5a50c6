"""Searches: settings chosen on the validation part of one fold, with Optuna.

Holds ranges, trials and what a search writes. May import ``runs`` and what stands below; ``study`` is its neighbour and
is not imported. Never knows the test part: its trials are runs that were created without those images.
"""
