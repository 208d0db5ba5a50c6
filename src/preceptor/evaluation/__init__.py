"""How good networks are: metrics and their registry, resampling, statistics, calibration, costs, and explanations.

May import losses, networks, recipe, data and utils. It never knows a task (it is handed metrics and cases), a run
directory, a report or a command line.
"""
