"""Tasks: what the targets of images are, how a network ends, its default loss, and how a part is evaluated.

One module a task; the rooms below (data, networks, losses, recipe, evaluation) know no task, the rooms above ask
``TASKS[recipe.task]`` instead of branching on its name. Importing this package loads no torch.
"""

from preceptor.tasks.registry import TASKS, Task, register_task

__all__ = ["TASKS", "Task", "register_task"]
