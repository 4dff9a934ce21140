"""Rules 5 to 8: what ends a subscription, how long it waits, dead connections, the transport."""

from __future__ import annotations

import pytest
from virtual import (
    Answer, Cut, Pause, Play, Silence, VirtualClock, closing, event, hello, poll, progress,
    refusal, stream,
)

from vidette import GaveUpError, StatusError
from vidette._backoff import Backoff, retry_after_seconds

REFUSED = stream(Cut())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_that_stays_ends_it(status: int) -> None:
    error = Play().answer(refusal(status)).error
    assert isinstance(error, StatusError)
    assert error.status == status


def test_no_number_of_tries_ends_it() -> None:
    play = Play(after="10-k3x9q2").answer(*[REFUSED] * 500, stream(hello(), event(11)))
    assert play.handed_on == [11]


def test_max_elapsed_ends_it_and_a_good_connection_begins_anew() -> None:
    play = Play(max_elapsed=60.0).answer(stream(hello(), event(1), Cut()), *[REFUSED] * 50)
    assert isinstance(play.error, GaveUpError)
    assert 40 < sum(play.waits) <= 60


def test_the_wait_doubles_up_to_twenty_seconds() -> None:
    play = Play().answer(*[REFUSED] * 8)
    assert play.waits == [0.25, 0.5, 1, 2, 4, 8, 10, 10]


def test_an_event_sets_the_wait_back() -> None:
    play = Play(after="1").answer(*[REFUSED] * 5, stream(hello(), event(2), Cut()))
    assert play.waits[-1] == 0.25


def test_ten_good_seconds_set_the_wait_back() -> None:
    play = Play(after="1").answer(*[REFUSED] * 5, stream(hello(), Pause(10), progress(1), Cut()))
    assert play.waits[-1] == 0.25


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 3.0), (0.5, 6.0), (1.0, 9.0)])
def test_an_orderly_end_waits_as_asked_give_or_take_a_half(chance: float, seconds: float) -> None:
    play = Play()
    play.clock.chance = chance
    assert play.answer(stream(hello(), closing(retry_ms=6000))).waits == [seconds]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("9999", 300), ("Tue, 14 Nov 2023 22:13:40 GMT", 20), ("soon", 0), ("-3", 0),
     ("Sun, 06 Nov 1994 08:49:37 GMT", 0), (None, 0)],
)
def test_retry_after(header: str | None, seconds: float) -> None:
    assert retry_after_seconds(header, VirtualClock().wall()) == seconds


def test_retry_after_is_a_floor() -> None:
    assert Play().answer(refusal(503, retry_after="7")).waits == [7]
    assert Play().answer(*[refusal(503, retry_after="1")] * 7).waits[-1] == 10


def test_jitter_is_spread_over_the_whole_range() -> None:
    clock = VirtualClock()
    for chance in (0.0, 0.1, 0.9, 1.0):
        clock.chance = chance
        assert Backoff(clock).after_failure() == chance * 0.5


def test_two_and_a_half_silent_heartbeats_are_a_dead_connection() -> None:
    play = Play(after="1").answer(
        stream(hello(heartbeat_ms=4000), Pause(9), progress(2), Silence()))
    assert play.read_limits[-1] == 10
    assert play.after()[1] == "2-k3x9q2"


def test_without_hello_ten_seconds_are_enough() -> None:
    play = Play(after="1").answer(stream(b": words\n", Pause(4), Silence()))
    assert play.read_limits[-1] == 6
    assert len(play.requests) == 2


def test_a_poll_may_take_ten_seconds_longer_than_it_waits() -> None:
    play = Play(after="1", transport="poll").answer(
        Answer((Silence(),), media_type="application/json"))
    assert play.requests[0].limit_seconds == 35
    assert play.read_limits == [35]


def test_a_stream_without_a_byte_in_five_seconds_becomes_long_poll() -> None:
    play = Play(after="10-k3x9q2").answer(stream(Silence()), poll(11), poll(12))

    assert play.read_limits[0] == 5
    assert play.paths() == ["/v1/sse", "/v1/poll", "/v1/poll", "/v1/poll"]
    assert play.waits == []
    assert play.after() == ["10-k3x9q2", "10-k3x9q2", "11-k3x9q2", "12-k3x9q2"]


def test_three_short_streams_become_long_poll() -> None:
    play = Play(after="1").answer(*[stream(hello(), Cut())] * 3)
    assert play.paths() == ["/v1/sse"] * 3 + ["/v1/poll"]


def test_a_busy_gateway_is_no_reason_for_long_poll() -> None:
    play = Play(after="1").answer(*[stream(closing("busy"))] * 5)
    assert play.paths() == ["/v1/sse"] * 6


def test_two_pages_of_a_proxy_try_long_poll_and_only_its_success_counts() -> None:
    page = Answer((b"<html>",), 502, "text/html")
    play = Play(after="1").answer(page, page, page, page, poll(2), poll(3))

    assert play.paths() == [
        "/v1/sse", "/v1/sse", "/v1/poll", "/v1/sse", "/v1/poll", "/v1/poll", "/v1/poll"]


def test_a_captive_portal_is_waited_out() -> None:
    portal = Answer((b"<html>",), 200, "text/html")
    play = Play(after="1").answer(portal, portal, portal, stream(hello(), event(2)))
    assert play.handed_on == [2]


def test_after_ten_minutes_the_stream_is_tried_again() -> None:
    play = Play(after="1").answer(stream(Silence()), poll(2), Answer(
        (Pause(600), *poll(3).parts), media_type="application/json"), stream(hello(), event(4)))

    assert play.paths()[:4] == ["/v1/sse", "/v1/poll", "/v1/poll", "/v1/sse"]
    assert play.handed_on == [2, 3, 4]


def test_a_chosen_transport_stays() -> None:
    assert set(Play(transport="sse").answer(*[stream(Silence())] * 4).paths()) == {"/v1/sse"}


def test_a_proxy_that_does_not_wait_is_not_asked_in_a_hot_loop() -> None:
    play = Play(after="1", transport="poll").answer(*[poll(vid=1)] * 12)
    assert len(play.waits) >= 8
