"""The spine: run directories, from a recipe and a data set to the metrics of a finished run.

It holds the one ``Run`` that reads and writes a run directory, the records of its files, what is trained before what,
and the steps from nothing to the end. It may import ``training``, ``recipes`` and every room below them. It never knows
reports, studies, searches or exports: whoever wants something done with a finished run hands down a function.
"""
