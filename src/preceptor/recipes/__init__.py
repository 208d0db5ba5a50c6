"""Recipes: one module a published system, each a typed function that returns a ``Recipe``; and their resolution.

Holds the settings of the papers and how names, files and ``key=value`` become one recipe. May import ``tasks``, which
know their default losses and metrics, and what stands below. Never knows how a recipe is trained: no tensor, loader or
run.
"""
