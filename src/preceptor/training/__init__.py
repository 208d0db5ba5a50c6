"""The engine: networks × views × objectives, one loop for every method.

It holds the loop, the module of networks and objectives, augmentation, loss schedules, optimisers, checkpoints,
processes and logging. It may import ``recipe``, ``tasks``, ``evaluation``, ``losses``, ``networks``, ``data`` and
``utils``. It never knows which published method it trains, nor the layout of a run directory: checkpoints, logs and
what happens after an epoch are handed to the loop.
"""
