"""Rules 9, 10 and 12: bounds, server-sent events byte by byte, and the types of data."""

from __future__ import annotations

import pytest
from virtual import Play, event, hello, stream

from vidette import EventTooLargeError, Received
from vidette._json import JsonError, elements, members
from vidette._sse import Block, BlockParser

LIMIT = 1000


def parse(*pieces: bytes) -> list[Block]:
    parser = BlockParser(LIMIT)
    return [block for piece in pieces for block in parser.feed(piece)]


def test_every_way_to_end_a_line() -> None:
    expected = [Block("7", "opened", "a\nb", None)]

    for end in ("\n", "\r", "\r\n"):
        text = f"id: 7{end}event: opened{end}data: a{end}data: b{end}{end}".encode()
        assert parse(text) == expected
        assert parse(*(text[i:i + 1] for i in range(len(text)))) == expected


def test_bytes_may_be_split_anywhere() -> None:
    text = "\ufeffid: 7\r\ndata: 門 €\r\n\r\nid: 8\r\n\r\n".encode()

    for at in range(len(text)):
        assert parse(text[:at], text[at:]) == [
            Block("7", "", "門 €", None), Block("8", "", None, None)]


def test_what_is_not_for_us_is_passed_over() -> None:
    text = b": words\n\nnonsense\nother: x\n\nid: 7\0\ndata\n\n"
    assert parse(text) == [Block(None, "", "", None)]


def test_retry_takes_digits_alone() -> None:
    assert parse(b"retry: 1500\n\nretry: soon\n\n") == [Block(None, "", None, 1500)]


def test_an_unfinished_block_is_dropped() -> None:
    play = Play(after="1").answer(stream(hello(), event(2)[:-1]), stream(hello(), event(2)))
    assert play.handed_on == [2]
    assert play.reader.state.duplicates == 0


@pytest.mark.parametrize("text", [b"data: " + b"x" * LIMIT, b"data: xxxxxxxx\n" * 150])
def test_an_event_beyond_the_bound_is_an_error(text: bytes) -> None:
    with pytest.raises(EventTooLargeError):
        parse(text)


def test_an_event_beyond_the_bound_ends_it() -> None:
    play = Play(after="1", max_event_bytes=30).answer(
        stream(hello(), event(2), event(3, data="x" * 5000)))

    assert play.handed_on == [2]
    assert isinstance(play.error, EventTooLargeError)


def test_nothing_is_read_while_an_event_is_unread() -> None:
    play = Play(after="1").answer(stream(hello(), event(2) + event(3) + event(4)), take=1)
    reads = len(play.read_limits)
    play.reader.finish()

    assert play.answer(take=2).handed_on == [2, 3, 4]
    assert len(play.read_limits) == reads


def test_unknown_events_of_the_gateway_only_move_the_cursor() -> None:
    later = b"id: 9-k3x9q2\nevent: vidette.later\ndata: {}\n\n"
    play = Play(after="1").answer(stream(hello(), later))
    assert (play.handed_on, play.after()[1]) == ([], "9-k3x9q2")


def test_json_keeps_its_text_and_its_digits() -> None:
    number = "123456789012345678901234567890"
    text = f'{{"vid":7,"topic":"a","time":"t","data": {{"n":{number}.10 , "m":1}}}}'
    received = Received.parse(text, "7-k3x9q2", None)

    assert received.raw == f'{{"n":{number}.10 , "m":1}}'
    assert received.data == received.raw
    assert received.json["m"] == 1
    assert Received.parse(text.replace(".10", ""), None, "e").json["n"] == int(number)


def test_text_is_text_and_bytes_are_bytes() -> None:
    text = Received.parse('{"vid":7,"topic":"a","data":"h\\u00e9"}', None, "k3x9q2")
    assert (text.data, text.raw, text.json, text.content_type, text.cursor) == (
        "hé", '"h\\u00e9"', "hé", "text/plain", "7-k3x9q2")

    packed = '{"vid":7,"topic":"a","content_type":"image/png","data_base64":"AQI="}'
    image = Received.parse(packed, None, "k3x9q2")
    assert (image.data, image.raw, image.content_type) == (b"\1\2", None, "image/png")
    with pytest.raises(ValueError, match="image/png"):
        _ = image.json


def test_a_number_longer_than_python_takes_does_not_stop_the_reader() -> None:
    digits = "9" * 5000
    received = Received.parse(f'{{"vid":7,"topic":"a","data":{digits}}}', None, "e")
    assert received.raw == digits


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a"}', '{"a":}', '{"a":1', '{"a":1,}', "{1:2}", '{"a":1 "b":2}'])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(JsonError):
        members(text)


def test_elements_keep_their_text() -> None:
    assert list(elements('[ {"a": 1} , 2.50,"x"]')) == ['{"a": 1}', "2.50", '"x"']
    assert list(elements("[]")) == []
