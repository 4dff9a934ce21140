"""Rules 11, 13, 15 and 16: closing, tokens, and what is seen from outside."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import pytest
from virtual import Cut, Pause, Play, Silence, VirtualClock, caught_up, event, hello, poll, refusal
from virtual import stream

from vidette import AsyncClient, Client, StatusError
from vidette._http import time_text
from vidette._token import TokenCache, expires_at


def jwt(expires: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires}).encode()).decode().rstrip("=")
    return f"e30.{claims}.c2ln"


def test_close_ends_without_an_error_and_moves_nothing() -> None:
    play = Play(after="10-k3x9q2").answer(stream(hello(), event(11), event(12)), take=2)
    play.reader.close()
    play.reader.close()
    play.answer()

    assert (play.stopped, play.error) == (True, None)
    assert (play.reader.state.phase, play.reader.state.cursor) == ("closed", "11-k3x9q2")


def test_what_a_driver_tells_after_close_changes_nothing() -> None:
    play = Play(after="10-k3x9q2").answer(stream(hello(), event(11)), take=1)
    play.reader.close()

    play.reader.received(event(12))
    play.reader.failed(ConnectionError("cut"))
    assert (play.answer().error, play.reader.state.phase) == (None, "closed")


def test_a_cancelled_read_asks_again_at_once() -> None:
    play = Play(after="10-k3x9q2").answer(stream(hello(), event(11)), take=1)
    play.reader.finish()
    play.reader.interrupted()

    assert play.answer(stream(hello(), event(12)), take=1).waits == []
    assert play.after() == ["10-k3x9q2", "11-k3x9q2"]


def test_a_refused_token_is_renewed_once() -> None:
    play = Play(after="1", tokens=["old", "new"]).answer(
        refusal(401), stream(hello(), event(2), Cut()))

    assert [request.token for request in play.requests] == ["old", "new", "new"]
    assert play.refused_tokens == [None, "old", None]
    assert play.waits == [0.25]


def test_a_second_refusal_ends_it() -> None:
    play = Play(tokens=["old", "new"]).answer(refusal(401), refusal(401))
    assert isinstance(play.error, StatusError)


def test_after_a_good_answer_a_token_may_be_refused_again() -> None:
    play = Play(after="1", transport="poll", tokens=["a", "b", "c"]).answer(
        refusal(401), poll(2), refusal(401), poll(3))
    assert play.handed_on == [2, 3]


def test_a_token_is_renewed_thirty_seconds_before_it_expires() -> None:
    clock = VirtualClock()
    cache = TokenCache(clock, None, renewable=True)
    assert cache.due(None)

    cache.current = jwt(clock.wall() + 31)
    assert not cache.due(None)
    clock.advance(2)
    assert cache.due(None)
    assert not TokenCache(clock, jwt(0), renewable=False).due(None)


def test_who_was_refused_an_older_token_gets_the_newer_one() -> None:
    cache = TokenCache(VirtualClock(), None, renewable=True)
    cache.current = "new"
    assert not cache.due("old")
    assert cache.due("new")


@pytest.mark.parametrize("token", ["plain", "a.b.c", "a.!!!.c", "e30.e30.c2ln"])
def test_a_token_that_is_no_jwt_does_not_expire(token: str) -> None:
    assert expires_at(token) is None


def test_the_state_tells_phase_lag_and_counts() -> None:
    play = Play(after="90-k3x9q2").answer(stream(hello(last=100), event(91)), take=1)
    assert (play.reader.state.phase, play.reader.state.lag) == ("catching-up", 10)

    play.answer(take=0)
    play = Play(after="90-k3x9q2").answer(
        stream(hello(), caught_up(100), Cut()), stream(hello(), caught_up(100), event(101)), take=1)
    state = play.reader.state
    assert (state.phase, state.transport, state.reconnects) == ("live", "sse", 1)


def test_the_state_while_it_waits_is_waiting() -> None:
    play = Play(after="1")
    play.reader.token_given(None)
    play.reader.step()
    play.reader.failed(ConnectionError("refused"))
    play.reader.step()
    assert play.reader.state.phase == "waiting"


def test_a_switch_to_long_poll_is_seen() -> None:
    play = Play(after="1").answer(stream(Pause(0), Silence()), poll(2), take=1)
    assert play.reader.state.transport == "poll"


def test_a_filter_that_was_cut_down_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Play(after="1").answer(stream(hello(filter=["door.1"])))
    assert "door.1" in caplog.text


def test_nothing_runs_before_the_first_read() -> None:
    def never() -> str:
        raise AssertionError("the token was asked for")

    with Client("http://127.0.0.1:9", token=never) as bus:
        events = bus.subscribe("door.*")
        assert events.state.phase == "connecting"
    AsyncClient("http://127.0.0.1:9", token=never).subscribe("door.*")


@pytest.mark.parametrize(
    "options", [{"after": "1", "snapshot": True}, {"on_gap": "ignore"}, {"transport": "carrier"}])
def test_options_that_cannot_work_are_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="only one|on_gap|transport"):
        Play(**options)


def test_since_takes_a_time_with_a_zone() -> None:
    from datetime import datetime, timedelta, timezone
    moment = datetime(2026, 11, 22, 11, 0, tzinfo=timezone(timedelta(hours=1)))

    assert time_text(moment) == "2026-11-22T10:00:00.000Z"
    assert time_text("15m") == "15m"
    with pytest.raises(ValueError, match="zone"):
        time_text(datetime(2026, 11, 22))
