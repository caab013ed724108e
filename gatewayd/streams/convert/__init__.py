"""Each protocol's events as the other protocol shows them: one pure function per kind, applied on reading.

A record is stored once, in the form of the protocol over which its run was started. Readers of the other
protocol get a converted view under the same number. A record is one event or none in either protocol, so a
position in the log means the same in both. Where one event would become several in the other protocol (an
interrupt in a v1 state is a request for input and the end of the run in v2), separate records are written
when it happens.

`to_v2` shows runs of v1 to readers of v2, `to_v1` runs of v2 to readers of v1.
"""
