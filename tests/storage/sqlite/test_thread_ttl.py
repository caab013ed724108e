"""How long threads are kept: whose time is over, who is passed over, and what is done but once."""

from __future__ import annotations

from typing import Any

from gatewayd.storage.sqlite import retention

MINUTE = retention.MINUTE_US


def test_the_search_for_them_reads_nothing_but_the_index_of_what_expires(desk: Any) -> None:
    for number in range(50):
        thread_id = desk.thread()
        if number % 5 == 0:
            retention.thread_ttl_set(desk.connection, thread_id, "delete", number + 1)
    for analysed in (False, True):
        if analysed:
            desk.connection.execute("ANALYZE")
        plan = [step[3] for step in desk.fetch(f"EXPLAIN QUERY PLAN {retention.EXPIRED}", 1, 0, "", 10)]
        assert "threads_to_expire" in plan[0], plan
        assert not any("TEMP B-TREE" in step for step in plan), plan
