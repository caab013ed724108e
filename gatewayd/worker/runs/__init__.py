"""The execution of runs: from a run's order to its last frame.

Knows nothing of `service` and `store`: a run worker executes runs whatever else it does.
"""
