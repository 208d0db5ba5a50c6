"""What every room may use: files written at once or not at all, errors for users, addressed randomness, registries.

Imports nothing of the project. Never knows images, networks or runs.
"""
