"""What can be done with threads apart from running graphs on them.

`records` makes and changes threads and reads their states and their history. `changes` has what changes a
thread's state without a run and therefore locks the thread: state updates, copies, prunes, deletion.
"""
