"""States of threads: the checkpointer that graphs run with, how values are serialised, how they are shown,
and the questions in them that wait for an answer.
"""
