"""Rule 14: ids, second tries with the same ids, batches, and streams that were cut."""

from __future__ import annotations

import json
from itertools import chain, repeat
from typing import Any

import pytest
from virtual import VirtualClock

from vidette import Event, OutcomeUnknown, Receipt, StatusError
from vidette._outbox import Form, Outbox, new_id
from vidette._steps import AskToken, Post, Settled, Sleep


class Posting:
    """An outbox, and a gateway that is played to it."""

    def __init__(self, form: Form, *events: Event, renewable: bool = False) -> None:
        self.clock = VirtualClock()
        self.outbox = Outbox(self.clock, form, window=110.0, renewable=renewable)
        self.tickets = [self.outbox.put(event) for event in events]
        self.waits: list[float] = []
        self.posts: list[Post] = []
        self.tokens = chain(["old", "new"], repeat("newest"))

    def next_post(self) -> Post | None:
        """The next request; ``None`` when all is settled."""
        while True:
            match self.outbox.step():
                case Post() as post:
                    self.posts.append(post)
                    return post
                case Sleep(seconds):
                    self.waits.append(seconds)
                    self.clock.advance(seconds)
                    self.outbox.slept()
                case AskToken():
                    self.outbox.token_given(next(self.tokens))
                case Settled():
                    return None

    def answer(self, *objects: Any) -> None:
        """Status 200 with one JSON text a line."""
        self.outbox.received(b"\n".join(json.dumps(o).encode() for o in objects) + b"\n")
        self.outbox.finished()

    def refuse(self, status: int, **headers: str) -> None:
        """Another status."""
        self.outbox.refused(status, headers, b'{"detail":"no"}')

    def lines(self) -> list[Any]:
        """The events of the last request."""
        return [json.loads(line) for line in self.posts[-1].body.splitlines()]


def receipt(vid: int, **more: Any) -> dict[str, Any]:
    return {"vid": vid, "cursor": f"{vid}-k3x9q2", **more}


def cut() -> ConnectionError:
    return ConnectionError("cut")


def test_an_id_is_a_uuid_of_version_seven_that_sorts_by_time() -> None:
    early, late = new_id(1_700_000_000.0), new_id(1_700_000_000.001)
    assert early < late
    assert (len(early), early[14], early[19] in "89ab") == (36, "7", True)
    assert new_id(1.0) != new_id(1.0)


def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_id() -> None:
    posting = Posting("one", Event("door.3", {"no": 3}, "opened"))
    first = posting.next_post()
    posting.outbox.failed(cut())
    second = posting.next_post()
    posting.answer(receipt(7, duplicate=True))

    assert first and second and first.body == second.body
    assert posting.next_post() is None
    assert posting.tickets[0].result() == Receipt(7, "7-k3x9q2", duplicate=True)


@pytest.mark.parametrize("status", [429, 503, 507, 502])
def test_a_busy_gateway_is_tried_again(status: int) -> None:
    posting = Posting("one", Event("a", 1))
    posting.next_post()
    posting.refuse(status, **{"retry-after": "3"})
    posting.next_post()
    posting.answer(receipt(1))

    assert posting.waits == [3]
    assert posting.tickets[0].result().vid == 1


@pytest.mark.parametrize("status", [400, 401, 403, 413, 421])
def test_other_refusals_are_final(status: int) -> None:
    posting = Posting("one", Event("a", 1))
    posting.next_post()
    posting.refuse(status)

    assert posting.next_post() is None
    with pytest.raises(StatusError, match=str(status)):
        posting.tickets[0].result()


def test_when_the_window_is_over_the_outcome_is_unknown() -> None:
    posting = Posting("one", Event("a", 1, id="door-3-17"))
    started = posting.clock.now()

    while posting.next_post():
        posting.outbox.failed(cut())

    assert 80 < posting.clock.now() - started < 110
    with pytest.raises(OutcomeUnknown) as unknown:
        posting.tickets[0].result()
    assert unknown.value.ids == ("door-3-17",)


def test_a_batch_is_one_request_with_a_receipt_for_each() -> None:
    posting = Posting("batch", Event("a", 1), Event("b", b"\1\2", content_type="image/png"))
    post = posting.next_post()
    posting.answer({"first_vid": 1, "last_vid": 2, "events": [receipt(1), receipt(2)]})

    assert post is not None
    body = json.loads(post.body)
    assert (body[0]["data"], body[1]["data_base64"], body[1]["content_type"]) == (
        1, "AQI=", "image/png")
    assert [ticket.result().vid for ticket in posting.tickets] == [1, 2]
    assert posting.next_post() is None


def test_a_batch_whose_answer_is_nonsense_is_tried_again() -> None:
    posting = Posting("batch", Event("a", 1), Event("b", 2))
    posting.next_post()
    posting.answer({"events": [receipt(1)]})
    assert posting.next_post() is not None


def test_a_stream_that_is_cut_sends_again_what_is_unanswered() -> None:
    posting = Posting("lines", *[Event("a", number) for number in range(10)])
    posting.next_post()
    assert posting.posts[0].content_type == "application/x-ndjson"

    for vid in (1, 2, 3):
        posting.outbox.received(json.dumps(receipt(vid)).encode() + b"\n")
    posting.outbox.received(b'{"vid":4,"cur')
    posting.outbox.failed(cut())
    posting.next_post()

    assert [line["data"] for line in posting.lines()] == [3, 4, 5, 6, 7, 8, 9]
    posting.answer(*[receipt(vid) for vid in range(4, 11)])
    assert [ticket.result().vid for ticket in posting.tickets] == list(range(1, 11))


def test_a_refused_line_does_not_stop_the_stream() -> None:
    posting = Posting("lines", Event("a", 1), Event("a..b", 2), Event("a", 3))
    posting.next_post()
    posting.answer(receipt(1), {"line": 2, "error": {"status": 400, "detail": "no"}}, receipt(2))

    assert posting.next_post() is None
    assert [posting.tickets[place].result().vid for place in (0, 2)] == [1, 2]
    with pytest.raises(StatusError):
        posting.tickets[1].result()


def test_a_line_that_was_refused_for_now_is_sent_again() -> None:
    posting = Posting("lines", Event("a", 1), Event("a", 2))
    posting.next_post()
    posting.answer(receipt(1), {"line": 2, "error": {"status": 503}})
    posting.next_post()
    assert [line["data"] for line in posting.lines()] == [2]


def test_a_stream_goes_out_in_bounded_requests() -> None:
    posting = Posting("lines", *[Event("a", number) for number in range(300)])
    posting.next_post()
    assert len(posting.lines()) == 256
    posting.answer(*[receipt(vid) for vid in range(1, 257)])
    posting.next_post()
    assert len(posting.lines()) == 44
    assert posting.waits == []


def test_a_stream_says_when_it_has_enough() -> None:
    outbox = Outbox(VirtualClock(), "lines", 110.0)
    for _ in range(5):
        outbox.put(Event("a", "x" * 1024 * 1024))
    assert outbox.full


def test_a_refused_token_is_renewed_once() -> None:
    posting = Posting("one", Event("a", 1), renewable=True)
    posting.next_post()
    posting.refuse(401)
    posting.next_post()
    assert [post.token for post in posting.posts] == ["old", "new"]

    posting.refuse(401)
    assert posting.next_post() is None
    with pytest.raises(StatusError):
        posting.tickets[0].result()


def test_a_receipt_before_its_time_is_an_error_of_the_caller() -> None:
    with pytest.raises(RuntimeError, match="flush"):
        Posting("lines", Event("a", 1)).tickets[0].result()


def test_an_own_id_and_headers_are_sent_as_they_are() -> None:
    posting = Posting("one", Event("a", "é", "note", "n-1", "text/plain", {"by": "me"}))
    posting.next_post()
    assert posting.lines() == [{"topic": "a", "id": "n-1", "type": "note", "headers": {"by": "me"},
                                "content_type": "text/plain", "data": "é"}]
