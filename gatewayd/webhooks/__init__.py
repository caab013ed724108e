"""Webhooks: when a run ends, gatewayd posts to the URL that its request named.

An owed webhook is a row (`storage.sqlite.webhooks`), written in the transaction that ends the run. So it is
owed if and only if the run has ended, even after a crash. `sender.Sender` looks for due webhooks, builds the
payload, posts it and records the outcome. The time of the next attempt is stored too, so restarts change
nothing.
Delivery is at least once: an attempt whose answer was lost with the process is repeated with the same
``Idempotency-Key``.

`policy.Policy` decides which URLs may be posted to. It is asked when a run is created (422), before each
attempt, and for every address that is about to be connected to, because a name may resolve to another address
by then.
The sender posts to the URL as the policy has parsed it, so that both see the same host. `networks` is the
table of addresses. User, password and query of a URL are hidden in logs and answers (`model.webhook`).

What happens on each failure
    No answer, 5xx, 408, 425 or 429: the next attempt is made after a wait of `sender.BACKOFF_S`, or after
    `Retry-After` if that is longer; eight attempts in about an hour, then it is dead.
    Any other status that is not 2xx (redirects are not followed), or an address that may not be posted to: it
    is dead at once.
    The daemon dies or stops: owed webhooks stay owed.
    The run or its thread is deleted: the webhook is still sent; its values are null then.
    A dead webhook stays in the delivery log for the retention and can be sent again.
"""
