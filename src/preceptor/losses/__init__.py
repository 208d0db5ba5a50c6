"""Losses: tensors in, a scalar out; one module a loss, registered by the name that a recipe gives.

May import networks (memory banks) and utils. Never knows recipes, the training loop or run directories: every loss
works in a training loop of the user's own.
"""
