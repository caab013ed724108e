"""Webhooks: an ended run is told to the URL that its request has named.

What is owed is a row (`storage.sqlite.webhooks`), written in the transaction that ends the run, so it is owed
if and only if the run has ended, whatever dies in between. `sender.Sender` looks for what is due, builds the
payload, posts it, and notes how that went; the next date of a failed one is stored, so that restarts change
nothing. At least once: an attempt whose answer was lost with the process is made again, with the same
``Idempotency-Key``.

`policy.Policy` says which URLs may be posted to. It is asked when a run is created (422), again before each
attempt, and for every address that a connection is about to be made to, resolved or written in the URL: what
a name stood for at the creation says nothing. Both read the URL alike, since what is posted to is the URL
that the policy has read. `networks` is the table of the addresses. User, password and query of a URL are
hidden in logs and answers (`model.webhook`).

What happens on each failure
    No answer, 5xx, 408, 425 or 429: tried again later, after `RETRY-AFTER` if the receiver says so,
    `ATTEMPTS` times in about an hour.
    Any other status that is not 2xx (redirects are not followed), or an address that may not be posted to:
    dead at once.
    The daemon dies or stops: what is owed stays owed.
    The run, or its thread, is deleted: it is told all the same; the values are null then.
    A dead webhook stays in the delivery log for the retention and can be sent again.
"""
