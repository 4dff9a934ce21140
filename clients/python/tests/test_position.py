"""Rules 1 to 4: the cursor, when it moves, what comes twice, and gaps."""

from __future__ import annotations

from typing import Any

import pytest
from virtual import (
    Cut, Pause, Play, Silence, caught_up, event, gap, hello, poll, progress, refusal, stream,
)

from vidette import Gap, GapError, ProtocolError


def test_a_reconnect_asks_after_the_last_event() -> None:
    play = Play(after="10-k3x9q2").answer(stream(hello(), event(11), event(12), Cut()))
    assert play.after() == ["10-k3x9q2", "12-k3x9q2"]


def test_a_block_with_only_an_id_moves_the_cursor() -> None:
    play = Play(after="10-k3x9q2").answer(stream(hello(), event(11), progress(40), Cut()))
    assert play.after()[1] == "40-k3x9q2"


def test_an_end_before_any_id_asks_after_the_same_cursor() -> None:
    play = Play(after="10-k3x9q2").answer(stream(Cut()), stream(hello()), stream(hello(), Cut()))
    assert play.after() == ["10-k3x9q2"] * 4


def test_latest_becomes_the_last_vid_of_hello() -> None:
    play = Play().answer(stream(hello(last=60), Cut()))
    assert play.after() == ["latest", "60-k3x9q2"]


def test_latest_becomes_the_cursor_of_caught_up() -> None:
    play = Play().answer(stream(hello(last=60), caught_up(61), Cut()))
    assert play.after()[1] == "61-k3x9q2"


@pytest.mark.parametrize("start", [{"since": "15m"}, {"snapshot": True}, {"after": "earliest"}])
def test_a_start_is_used_until_a_cursor_is_known(start: dict[str, Any]) -> None:
    play = Play(**start).answer(stream(hello(), Cut()), stream(hello(), event(7), Cut()))
    name, value = next(iter(start.items()))

    for request in play.requests[:2]:
        assert dict(request.parameters)[name] == ("true" if value is True else value)
    assert dict(play.requests[2].parameters) == {"topic": "door.*", "after": "7-k3x9q2"}


def test_an_unfinished_event_does_not_move_the_cursor() -> None:
    play = Play(after="10-k3x9q2").answer(stream(hello(), event(11), event(12)), take=2)
    assert play.reader.state.cursor == "11-k3x9q2"

    play.reader.finish()
    assert play.reader.state.cursor == "12-k3x9q2"


def test_progress_behind_an_unfinished_event_waits_for_it() -> None:
    blocks = event(11) + progress(40)
    play = Play(after="10-k3x9q2").answer(stream(hello(), blocks), take=1)
    assert play.reader.state.cursor == "10-k3x9q2"


def test_an_event_that_comes_twice_is_handed_on_once() -> None:
    play = Play(after="10-k3x9q2").answer(
        stream(hello(), event(11), event(12), Cut()), stream(hello(), event(12), event(14), Cut()))

    assert play.handed_on == [11, 12, 14]
    assert play.reader.state.duplicates == 1


def test_a_lower_vid_of_the_same_epoch_is_dropped() -> None:
    play = Play(after="10-k3x9q2").answer(stream(hello(), event(12), event(11), event(13)))
    assert play.handed_on == [12, 13]


def test_another_log_without_a_gap_is_an_error_the_second_time() -> None:
    bad = stream(hello(), event(11, epoch="another1"))

    once = Play(after="10-k3x9q2").answer(bad, stream(hello(), event(11)))
    assert (once.handed_on, once.stopped) == ([11], False)

    twice = Play(after="10-k3x9q2").answer(bad, bad)
    assert isinstance(twice.error, ProtocolError)


def test_a_log_that_went_on_from_a_copy_is_followed() -> None:
    play = Play(after="10-k3x9q2").answer(
        stream(hello(), event(11), Cut()), stream(hello(epoch="m8d4w1"), event(12, "m8d4w1")))

    assert play.handed_on == [11, 12]
    assert play.after()[2] == "12-m8d4w1"


def test_a_gap_is_told_before_the_event_behind_it() -> None:
    play = Play(after="4-k3x9q2").answer(
        stream(hello(), gap("expired", "4-k3x9q2", 40, 100), event(40)))

    assert play.handed_on == [Gap("expired", "4-k3x9q2", 40, 100, "k3x9q2"), 40]
    assert play.reader.state.gaps == 1


def test_after_a_reset_lower_vids_are_new() -> None:
    play = Play(after="50-k3x9q2").answer(
        stream(hello(), event(51), Cut()),
        stream(hello(epoch="another1"), gap("reset", "51-k3x9q2", 1, 9, "another1"),
               event(1, "another1"), event(2, "another1")))

    assert [entry for entry in play.handed_on if isinstance(entry, int)] == [51, 1, 2]


def test_a_gap_that_a_poll_tells_comes_before_its_events() -> None:
    told = {"reason": "later-reason", "requested": "4", "first": 6, "last": 10, "epoch": "k3x9q2"}
    play = Play(after="4", transport="poll").answer(poll(6, gap=told))
    assert play.handed_on == [Gap("later-reason", "4", 6, 10, "k3x9q2"), 6]


def test_fail_ends_with_the_gap_of_the_refusal() -> None:
    problem = refusal(410)
    body = b'{"reason":"expired","requested":"4","first":6,"last":10,"epoch":"k3x9q2"}'
    play = Play(after="4", on_gap="fail").answer(
        type(problem)((body,), 410, problem.media_type))

    assert dict(play.requests[0].parameters)["on_gap"] == "fail"
    assert isinstance(play.error, GapError)
    assert play.error.gap.first == 6


def test_the_snapshot_policy_asks_for_a_snapshot() -> None:
    play = Play(after="4-k3x9q2", on_gap="snapshot").answer(
        stream(hello(), gap("expired", "4-k3x9q2", 40, 100), event(40)),
        stream(hello(), event(41), event(99), Cut()))

    assert [entry for entry in play.handed_on if isinstance(entry, int)] == [41, 99]
    assert dict(play.requests[1].parameters) == {"topic": "door.*", "snapshot": "true"}
    assert play.after()[2] == "99-k3x9q2"


def test_a_silent_poll_without_a_cursor_cannot_lose_events() -> None:
    play = Play(transport="poll").answer(poll(vid=60), stream(Pause(1), Silence()))
    assert [dict(request.parameters)["wait"] for request in play.requests[:2]] == ["0", "25"]
    assert play.after()[1] == "60-k3x9q2"
