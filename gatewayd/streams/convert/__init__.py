"""Each protocol's events as the other protocol shows them: one pure function per kind, applied on reading.

A record is stored once, in the words of the protocol that its run was started over. Who reads over the other
one gets the view made here, under the same number: one record is one event, or none, in either protocol, so
that a position in the log means the same to both. What one protocol's event would need several of the other's
for (an interrupt in a v1 state is a request for input and the end of the run in v2) is written as records of
its own when it happens.

`to_v2` shows runs of v1 to readers of v2, `to_v1` runs of v2 to readers of v1.
"""
