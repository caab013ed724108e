"""What is done by the clock so that the server does not fill up. No request waits for it.

`sweeper` removes in small steps what is not kept any longer. `expiry` deals with threads whose time to live
is over. Both know storage and the readers of logs, and no runs: what is removed executes no more.
"""
