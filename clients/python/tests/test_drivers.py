"""Both drivers against a raw TCP server: what only sockets can show."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from raw_server import HOLD, PATIENCE_S, RESET, RawServer, chunked, head
from virtual import event, gap, hello, poll

from vidette import AsyncClient, Client, Gap, OutcomeUnknown, Receipt, State, StatusError
from vidette._clock import Clock
from vidette.models import OnGap

Taken = tuple[list[int], State]
Reads = Callable[..., Taken]

CHUNKED = head("text/event-stream", "200 OK", "Transfer-Encoding: chunked")
ANSWER = b'{"vid":7,"cursor":"7-k3x9q2"}'
JSON_HEAD = head("application/json")


def quick(limit_factor: float = 0.1) -> Clock:
    """Shorter time-outs, and next to no waits."""
    return Clock(limit_factor, wait_factor=0.001)


def read_sync(url: str, count: int, limit_factor: float = 0.1, **options: Any) -> Taken:
    clock = quick(limit_factor)
    with Client(url, clock=clock) as bus, bus.subscribe(after="10-k3x9q2", **options) as events:
        vids = [next(events).vid for _ in range(count)]
        return vids, events.state


def read_async(url: str, count: int, limit_factor: float = 0.1, **options: Any) -> Taken:
    async def read() -> Taken:
        async with AsyncClient(url, clock=quick(limit_factor)) as bus:
            async with bus.subscribe(after="10-k3x9q2", **options) as events:
                vids = [(await anext(events)).vid for _ in range(count)]
                return vids, events.state

    return asyncio.run(read())


def body_of(*vids: int) -> bytes:
    part = poll(*vids).parts[0]
    assert isinstance(part, bytes)
    return part


KEEP_ALIVE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (
    len(body_of(11)))

both = pytest.mark.parametrize("read", [read_sync, read_async])


@both
def test_a_cut_within_a_chunk_resumes_after_the_last_whole_event(read: Reads) -> None:
    cut = chunked(hello(), event(11), event(12))[:-20]

    with RawServer([CHUNKED, cut], [CHUNKED, chunked(hello(), event(12))]) as server:
        vids, state = read(server.url, 2)

    assert (vids, state.reconnects) == ([11, 12], 1)
    assert server.targets() == ["/v1/sse?after=10-k3x9q2", "/v1/sse?after=11-k3x9q2"]
    assert "vidette-python/" in server.requests[0]


@both
def test_a_reset_and_a_refusal_are_tried_again(read: Reads) -> None:
    busy = head("application/problem+json", "503 Busy", "Retry-After: 1") + b'{"status":503}'

    with RawServer([RESET], [busy], [head(), hello(), RESET], [head(), event(11)]) as server:
        vids, _ = read(server.url, 1)
    assert vids == [11]


@both
def test_a_pause_shorter_than_the_heartbeat_allows_is_no_end(read: Reads) -> None:
    with RawServer([head() + hello(), 0.4, event(11)]) as server:
        assert read(server.url, 1, limit_factor=0.03)[0] == [11]
        assert len(server.requests) == 1


@both
def test_silent_heartbeats_are_a_dead_connection(read: Reads) -> None:
    first = head() + hello(heartbeat_ms=4000) + event(11)

    with RawServer([first, HOLD], [head() + event(12)]) as server:
        assert read(server.url, 2, limit_factor=0.03)[0] == [11, 12]
        assert server.client_left.wait(PATIENCE_S)


@both
def test_a_proxy_that_holds_the_stream_back_is_passed_by_long_poll(read: Reads) -> None:
    with RawServer([head(), HOLD], [JSON_HEAD, body_of(11)], [JSON_HEAD, body_of(12)]) as server:
        vids, state = read(server.url, 2)

    assert (vids, state.transport) == ([11, 12], "poll")
    assert server.targets()[1:] == ["/v1/poll?after=10-k3x9q2&wait=25",
                                    "/v1/poll?after=11-k3x9q2&wait=25"]


@both
def test_a_final_refusal_has_the_gateways_reason(read: Reads) -> None:
    problem = head("application/problem+json", "403 No") + b'{"detail":"not for you"}'

    with RawServer([problem]) as server, pytest.raises(StatusError, match="not for you"):
        read(server.url, 1)


def test_close_from_another_thread_ends_the_iterator_at_once() -> None:
    with RawServer([head(), hello(), HOLD]) as server, Client(server.url) as bus:
        events = bus.subscribe("door.*")
        threading.Timer(0.1, events.close).start()

        assert list(events) == []
        assert server.client_left.wait(PATIENCE_S)
        assert list(events) == []


def test_close_ends_a_poll_that_waits_for_its_answer() -> None:
    with RawServer([KEEP_ALIVE, body_of(11), HOLD]) as server, Client(server.url) as bus:
        events = bus.subscribe(after="10-k3x9q2", transport="poll")
        assert next(events).vid == 11
        threading.Timer(0.1, events.close).start()

        assert list(events) == []
        assert server.client_left.wait(PATIENCE_S)


@both
def test_leaving_a_subscription_leaves_no_socket(read: Reads) -> None:
    with RawServer([KEEP_ALIVE, body_of(11), HOLD]) as server:
        assert read(server.url, 1, transport="poll")[0] == [11]
        assert server.client_left.wait(PATIENCE_S)


@both
def test_a_compressed_poll_is_read_and_a_stream_is_asked_for_as_it_is(read: Reads) -> None:
    packed = gzip.compress(body_of(11))
    answer = head("application/json", "200 OK", "Content-Encoding: gzip") + packed

    with RawServer([answer], [head() + event(11)]) as server:
        assert read(server.url, 1, transport="poll")[0] == [11]
        assert read(server.url, 1, transport="sse")[0] == [11]

    assert "gzip" in server.requests[0]
    assert "Accept-Encoding: identity" in server.requests[1]


def test_a_function_is_told_of_a_gap_before_the_event_behind_it() -> None:
    told: list[object] = []
    missing = gap("expired", "4-k3x9q2", 40, 100)

    with RawServer([head() + hello() + missing + event(40)]) as server, Client(server.url) as bus:
        with bus.subscribe(after="4-k3x9q2", on_gap=told.append) as events:
            told.append(next(events).vid)
    assert told == [Gap("expired", "4-k3x9q2", 40, 100, "k3x9q2"), 40]


async def test_an_async_function_may_choose_at_a_gap() -> None:
    async def choose(told: Gap) -> OnGap:
        await asyncio.sleep(0)
        return "snapshot" if told.reason == "expired" else "continue"

    missing = gap("expired", "4-k3x9q2", 40, 100)
    with RawServer([head() + hello() + missing], [head() + hello() + event(99)]) as server:
        async with AsyncClient(server.url) as bus:
            async with bus.subscribe(after="4-k3x9q2", on_gap=choose) as events:
                assert (await anext(events)).vid == 99

    assert server.targets()[1] == "/v1/sse?snapshot=true"


async def test_two_tasks_cannot_read_one_subscription() -> None:
    with RawServer([head() + hello(), HOLD]) as server:
        async with AsyncClient(server.url) as bus, bus.subscribe() as events:
            reading = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task"):
                await anext(events)

            await events.aclose()
            with pytest.raises(StopAsyncIteration):
                await reading


def test_an_exception_of_the_token_function_comes_through_and_reading_may_go_on() -> None:
    given = iter([LookupError("no session"), "good"])

    def token() -> str:
        next_one = next(given)
        if isinstance(next_one, LookupError):
            raise next_one
        return str(next_one)

    with RawServer([head() + event(11)]) as server, Client(server.url, token=token) as bus:
        events = bus.subscribe(after="10-k3x9q2")
        with pytest.raises(LookupError):
            next(events)
        assert next(events).vid == 11

    assert "Bearer good" in server.requests[0]


def test_closing_the_client_closes_its_subscriptions() -> None:
    with RawServer([head() + event(11), HOLD]) as server:
        with Client(server.url) as bus:
            events = bus.subscribe(after="10-k3x9q2")
            assert next(events).vid == 11

        assert server.client_left.wait(PATIENCE_S)
        assert list(events) == []


async def test_close_from_another_task_ends_the_iterator_at_once() -> None:
    with RawServer([head(), hello(), HOLD]) as server:
        async with AsyncClient(server.url) as bus:
            events = bus.subscribe("door.*")
            asyncio.get_running_loop().call_later(
                0.1, lambda: asyncio.ensure_future(events.aclose()))

            assert [e async for e in events] == []
            assert await asyncio.to_thread(server.client_left.wait, PATIENCE_S)


async def test_a_cancelled_read_loses_nothing() -> None:
    with RawServer([head(), hello(), event(11), HOLD], [head(), hello(), event(12)]) as server:
        async with AsyncClient(server.url) as bus, bus.subscribe(after="10-k3x9q2") as events:
            assert (await anext(events)).vid == 11
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(events), 0.1)

            assert (await anext(events)).vid == 12
            assert events.cursor == "11-k3x9q2"


def test_a_lost_answer_is_asked_for_again_with_the_same_id() -> None:
    again = [JSON_HEAD, ANSWER[:-1] + b',"duplicate":true}']

    with RawServer([RESET], again) as server, Client(server.url, clock=quick()) as bus:
        assert bus.publish("door.3", {"no": 3}) == Receipt(7, "7-k3x9q2", True)

    ids = [json.loads(request.split("\r\n\r\n")[1])["id"] for request in server.requests]
    assert ids[0] == ids[1]


def test_nobody_there_makes_the_outcome_unknown() -> None:
    with RawServer() as server:
        url = server.url

    clock = Clock(limit_factor=0.001, wait_factor=0.001)
    with Client(url, clock=clock) as bus, pytest.raises(OutcomeUnknown):
        bus.publish("door.3", 1)


async def test_five_waiting_publishes_ask_for_one_new_token() -> None:
    asked: list[int] = []

    async def token() -> str:
        asked.append(1)
        await asyncio.sleep(0)
        return f"token-{len(asked)}"

    def answer(request: str) -> list[bytes]:
        if "Bearer token-2" in request:
            return [JSON_HEAD, ANSWER]
        return [head("application/problem+json", "401 No") + b"{}"]

    with RawServer(answer=answer) as server:
        async with AsyncClient(server.url, token=token, clock=quick()) as bus:
            receipts = await asyncio.gather(*[bus.publish("a", number) for number in range(5)])

    assert (len(receipts), len(asked), len(server.requests)) == (5, 2, 10)


async def test_tasks_that_send_at_once_share_requests_and_keep_their_order() -> None:
    lines = b"".join(b'{"vid":%d,"cursor":"%d-k3x9q2"}\n' % (vid, vid) for vid in range(1, 11))
    cut_after = lines.index(b'{"vid":4')
    ndjson = head("application/x-ndjson")

    with RawServer([ndjson, lines[:cut_after]], [ndjson, lines[cut_after:]]) as server:
        async with AsyncClient(server.url, clock=quick()) as bus, bus.stream() as out:
            tickets = [await out.put("a", number) for number in range(10)]
            receipts = await asyncio.gather(*[out.flush() for _ in range(3)])

    assert len(receipts) == 3
    assert [ticket.result().vid for ticket in tickets] == list(range(1, 11))
    sent = [json.loads(line)["data"] for request in server.requests
            for line in request.split("\r\n\r\n")[1].splitlines()]
    assert sent == [*range(10), *range(3, 10)]


def test_leaving_a_stream_sends_what_is_left() -> None:
    with RawServer([head("application/x-ndjson"), ANSWER + b"\n"]) as server:
        with Client(server.url) as bus, bus.stream() as out:
            ticket = out.put("a", 1)
        assert ticket.result().vid == 7
