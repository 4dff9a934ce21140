//! Server-Sent Events, by a parser of its own, line by line as the WHATWG standard has it.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde_json::Value;

use super::read::{Refused, Seen, Step, SubscribeParams, is_text_topic, refused};

/// A dispatched block, or one that only moved the last event id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    pub event: String,
    pub data: Option<String>,
    /// The last event id after this block.
    pub last_event_id: String,
    pub has_id: bool,
    pub retry: Option<u64>,
}

/// The parser of "9.2.6 Interpreting an event stream".
#[derive(Default)]
pub struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    block: Block,
    last_event_id: String,
}

impl Parser {
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Block> {
        let mut blocks = Vec::new();
        for &byte in bytes {
            let is_lf_of_crlf =
                std::mem::replace(&mut self.after_cr, byte == b'\r') && byte == b'\n';
            match byte {
                _ if is_lf_of_crlf => {}
                b'\n' | b'\r' => blocks.extend(self.end_line()),
                _ => self.line.push(byte),
            }
        }
        blocks
    }

    fn end_line(&mut self) -> Option<Block> {
        let line =
            String::from_utf8(std::mem::take(&mut self.line)).expect("an event stream is UTF-8");
        if line.is_empty() {
            let mut block = std::mem::take(&mut self.block);
            block.last_event_id.clone_from(&self.last_event_id);
            let is_something = block.data.is_some() || block.has_id || block.retry.is_some();
            return is_something.then_some(block);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.block.event),
            "data" => match &mut self.block.data {
                Some(data) => data.extend(["\n", value]),
                none => *none = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => {
                value.clone_into(&mut self.last_event_id);
                self.block.has_id = true;
            }
            "retry" => self.block.retry = value.parse().ok(),
            _ => {}
        }
        None
    }
}

pub struct SseReader {
    body: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    parser: Parser,
    ready: VecDeque<Block>,
}

impl SseReader {
    pub async fn open(url: &str, params: &SubscribeParams) -> Result<Self, Refused> {
        let request = params.get(&params.client(url), &format!("{url}/v1/sse"));
        let response = request
            .send()
            .await
            .map_err(|e| Refused::Unavailable(e.to_string()))?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body = response
            .bytes_stream()
            .map(|chunk| chunk.map(|c| c.to_vec()))
            .boxed();
        Ok(SseReader {
            body,
            parser: Parser::default(),
            ready: VecDeque::new(),
        })
    }

    pub async fn next(&mut self) -> Result<Option<Step>, Refused> {
        Ok(self.block().await?.map(|block| step(&block)))
    }

    pub async fn block(&mut self) -> Result<Option<Block>, Refused> {
        loop {
            if let Some(block) = self.ready.pop_front() {
                return Ok(Some(block));
            }
            match self.body.next().await {
                Some(Ok(chunk)) => self.ready.extend(self.parser.feed(&chunk)),
                Some(Err(error)) => return Err(Refused::Unavailable(error.to_string())),
                None => return Ok(None),
            }
        }
    }
}

fn step(block: &Block) -> Step {
    let Some(data) = &block.data else {
        return Step::Progress(block.last_event_id.clone());
    };
    let Some(name) = block.event.strip_prefix("vidette.") else {
        let seen = Seen::from_json(data, is_text_topic);
        assert_eq!(
            seen.kind, block.event,
            "event: is the type, and only there when there is one"
        );
        return Step::Event(seen, block.last_event_id.clone());
    };
    let value: Value = serde_json::from_str(data).expect("JSON");
    let number = |field: &str| value[field].as_u64().expect("a number");
    match name {
        "hello" => Step::Hello {
            epoch: value["epoch"].as_str().expect("an epoch").into(),
            first: number("first"),
            last: number("last"),
        },
        "caught_up" => Step::CaughtUp(value["cursor"].as_str().expect("a cursor").into()),
        "gap" => Step::Gap(serde_json::from_value(value).expect("a gap")),
        "closing" => {
            assert!(block.retry.is_some(), "closing comes with retry:");
            Step::Closing
        }
        other => panic!("a block named vidette.{other}"),
    }
}
