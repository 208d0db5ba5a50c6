"""Tasks: what the targets of images are, how a network ends, its default loss, and how a part is evaluated.

May import evaluation and what lies below it (losses, networks, recipe, data, utils), heavy packages only within
methods, so that importing this one loads no torch. It never knows a published system, a run directory or a report:
the rooms above ask ``TASKS[recipe.task]`` instead of branching on its name.
"""

from preceptor.tasks.registry import TASKS, Task, register_task

__all__ = ["TASKS", "Task", "register_task"]
