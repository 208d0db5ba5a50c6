"""Scripts that start processes need ``if __name__ == "__main__":``, since each process imports the script again."""

from __future__ import annotations

import multiprocessing

from preceptor.utils.errors import PreceptorError

GUARD = 'put what the script does under: if __name__ == "__main__":'


def refuse_unguarded() -> None:
    """Raise if a process that is to work for the script is still importing it, and comes to a call that trains.

    It has to import the script: losses and metrics that are registered there are known to it by that alone.

    Raises:
        PreceptorError: in such a process.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # set while a process imports its script
        raise PreceptorError(
            "a process that this script has started imports the script, and comes to this call itself", remedy=GUARD
        )
