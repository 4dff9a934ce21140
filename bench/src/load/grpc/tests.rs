//! Streams are followed whatever way their frames are cut.

use std::time::Duration;

use super::*;
use crate::address::Address;
use crate::load::Transport;
use crate::markers::Marker;
use crate::tally::Tally;

fn wire(readers: usize) -> GrpcWire {
    let address = Address::parse("http://127.0.0.1:1").expect("an address");
    let plan = ReaderPlan {
        run: 1,
        via: Transport::Grpc,
        address,
        access: Arc::default(),
        readers,
        connections: 1,
        topics: 1,
        first_topic: 0,
        publishers: 1,
        cursor: "latest".to_owned(),
        coalesce: Duration::ZERO,
        churn: 0.0,
        grpc_request: None,
    };
    GrpcWire::new(&plan, 0)
}

fn markers(sequences: std::ops::Range<u32>) -> Vec<u8> {
    let mut text = Vec::new();
    sequences.for_each(|sequence| {
        Marker {
            run: 1,
            publisher: 0,
            sequence,
            due_us: 0,
        }
        .write(&mut text, 40);
    });
    text
}

/// Settings, two heads, events on the first stream whose marker is cut by a frame, a ping, and
/// the second's end.
fn answers() -> Vec<u8> {
    let mut bytes = Vec::new();
    frame(&mut bytes, SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 2]);
    frame(&mut bytes, SETTINGS, ACK, 0, &[]);
    for stream in [1, 3] {
        frame(
            &mut bytes,
            HEADERS,
            END_HEADERS,
            stream,
            &[STATUS_200, 0x10],
        );
    }
    let data = markers(0..2);
    frame(&mut bytes, DATA, 0, 1, &data[..50]);
    frame(&mut bytes, PING, 0, 0, b"12345678");
    frame(&mut bytes, DATA, 0, 1, &data[50..]);
    frame(&mut bytes, HEADERS, END_STREAM, 3, &[0x10]);
    bytes
}

#[test]
fn streams_are_followed_wherever_a_read_ends() {
    let bytes = answers();
    for cut in 0..=bytes.len() {
        let (mut wire, mut tally, mut out) = (wire(2), Tally::new(1), Vec::new());
        let mut context = WireContext {
            tally: &mut tally,
            out: &mut out,
            working: true,
        };
        wire.take(&bytes[..cut], &mut context).expect("no error");
        wire.take(&bytes[cut..], &mut context).expect("no error");
        assert_eq!(
            (wire.reading(), wire.ended(), tally.delivered),
            (1, 1, 2),
            "cut at {cut}"
        );
        assert_eq!(
            wire.received(),
            [(0, 2), (0, 0)],
            "the second is expected to get what it was cut from"
        );
        let mut pong = Vec::new();
        frame(&mut pong, PING, ACK, 0, b"12345678");
        assert!(out.ends_with(&pong), "a ping is answered");
    }
}

#[test]
fn more_streams_than_the_server_allows_are_an_error() {
    let (mut tally, mut out) = (Tally::new(1), Vec::new());
    let mut context = WireContext {
        tally: &mut tally,
        out: &mut out,
        working: false,
    };
    let error = wire(3)
        .take(&answers(), &mut context)
        .expect_err("an error");
    assert!(error.contains("2 streams a connection, not 3"), "{error}");
}

#[test]
fn a_stream_that_is_refused_reads_nothing() {
    let (mut wire, mut tally, mut out) = (wire(1), Tally::new(1), Vec::new());
    let mut bytes = Vec::new();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    frame(
        &mut bytes,
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &[STATUS_200, 0x10],
    );
    wire.take(
        &bytes,
        &mut WireContext {
            tally: &mut tally,
            out: &mut out,
            working: false,
        },
    )
    .expect("no error");
    assert_eq!(
        (wire.reading(), wire.ended(), wire.received().len()),
        (0, 1, 0)
    );
}
