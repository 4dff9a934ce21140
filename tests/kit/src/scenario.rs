//! The scenario format: what the adapter is asked, what each request must ask, how it is answered,
//! and what is expected.
//!
//! A scenario is one file, `scenarios/GROUP/NAME.json`. Unknown fields are refused, so that a
//! misspelt expectation cannot pass.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// The epoch of the virtual log, where a scenario names no other.
pub(crate) const EPOCH: &str = "k3x9q2";

/// One scenario, as its file says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// `A/cut-after-event`; made of the path, not read.
    #[serde(skip)]
    pub(crate) name: String,
    pub(crate) title: String,
    /// False: connections are refused until a step says `listen`.
    #[serde(default = "yes")]
    pub(crate) listening: bool,
    /// `VIDETTE_KIT_WAITS` of the adapter.
    #[serde(default)]
    pub(crate) waits_factor: Option<f64>,
    /// Commands for the adapter (with `do`) and steps of the kit, in order.
    pub(crate) drive: Vec<Value>,
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) expect: Expect,
}

/// What one request must ask, and how it is answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    #[serde(default)]
    pub(crate) asked: Asked,
    pub(crate) then: Vec<Action>,
    /// How many requests in a row are answered so.
    #[serde(default = "one")]
    pub(crate) times: usize,
    /// May be left out: skipped when the request's path or method is another.
    #[serde(default)]
    pub(crate) optional: bool,
}

/// What a request is compared with; what is absent is not compared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Asked {
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    /// The cursors that are right, from `after` or `Last-Event-ID`; null: none at all.
    pub(crate) after: Option<Vec<Option<String>>>,
    /// Parameters by name; null: must be absent. A repeated one is joined by commas.
    pub(crate) parameters: BTreeMap<String, Option<String>>,
    pub(crate) headers: BTreeMap<String, String>,
    /// How many events the body holds.
    pub(crate) events: Option<usize>,
    /// The body's ids are those of an earlier request (from 0), less so many at its beginning.
    pub(crate) same_ids: Option<SameIds>,
}

/// Compares the ids in a body with those of an earlier request.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SameIds {
    pub(crate) request: usize,
    #[serde(default)]
    pub(crate) skip: usize,
}

/// One thing that the server does in an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Action {
    /// Head of a chunked event stream.
    Sse,
    /// Head of an event stream that ends with the connection.
    SseUntilEof,
    /// A whole answer; `length` lies about its length.
    Answer {
        status: u16,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: String,
        #[serde(default)]
        length: Option<usize>,
    },
    Hello(Value),
    Event(Event),
    Progress(String),
    CaughtUp(String),
    Gap(Value),
    Closing(Value),
    /// SSE text, in pieces where `split_at` (bytes) says so.
    Raw {
        text: String,
        #[serde(default)]
        split_at: Vec<usize>,
    },
    /// Bytes outside of any chunk.
    Bytes(String),
    Poll(Poll),
    /// A JSON answer with status 200.
    Json(Value),
    /// Reads so many lines of an NDJSON body, before or between answers.
    ReadLines(usize),
    /// Answers so many NDJSON lines with vids from the first.
    Ndjson {
        first: u64,
        count: usize,
    },
    /// Whether each byte is written alone from here on.
    Dribble(bool),
    /// The line end of SSE blocks from here on.
    LineEnd(String),
    WaitMs(u64),
    /// Waits until the adapter has handed on so many events and gaps.
    UntilHanded(usize),
    /// Waits until so many requests have arrived.
    UntilRequests(usize),
    Comments(usize),
    /// An event whose data is a string of so many bytes.
    BigEvent {
        vid: u64,
        bytes: usize,
    },
    /// Writes events until the library stops reading; it has to before so many bytes.
    Flood {
        first: u64,
        most_bytes: usize,
    },
    /// The chunked body ends as it should.
    End,
    /// FIN without an end of the body.
    Cut,
    /// RST.
    Reset,
    /// Nothing more, until the client closes.
    Hold,
}

/// An event of the virtual log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    pub(crate) vid: u64,
    #[serde(default = "epoch")]
    pub(crate) epoch: String,
    #[serde(default = "topic")]
    pub(crate) topic: String,
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<String>,
    /// JSON text, sent as it is.
    #[serde(default = "data")]
    pub(crate) data: String,
}

/// An answer of `/v1/poll`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Poll {
    #[serde(default)]
    pub(crate) events: Vec<Event>,
    pub(crate) cursor: String,
    #[serde(default)]
    pub(crate) gap: Option<Value>,
}

/// What must have happened; what is absent is not compared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    /// Events by cursor and gaps as `gap:REASON`, in order.
    pub(crate) handed: Option<Vec<String>>,
    /// The exact JSON text of an event's data, by cursor.
    pub(crate) raw: BTreeMap<String, String>,
    /// The length of that text, by cursor.
    pub(crate) raw_bytes: BTreeMap<String, usize>,
    /// Least and most milliseconds of each wait, in order; waits behind the last are free.
    pub(crate) waits: Vec<(u64, u64)>,
    /// The bounds of full jitter over so many waits.
    pub(crate) spread_waits: Option<usize>,
    /// The final error: its kind, and the status where it is `status`.
    pub(crate) error: Option<Value>,
    /// The cursors of which the answer to the n-th `state` must have one.
    pub(crate) states: Vec<Vec<Option<String>>>,
    /// Fields that a receipt of that `ref` and `index` must have.
    pub(crate) receipts: Option<Vec<Value>>,
    pub(crate) token_calls: Option<u64>,
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

fn epoch() -> String {
    EPOCH.into()
}

fn topic() -> String {
    "door.1".into()
}

fn data() -> String {
    "{}".into()
}

/// All scenarios below a folder, by name.
pub(crate) fn load_all(folder: &Path) -> io::Result<Vec<Scenario>> {
    let mut scenarios = Vec::new();

    for group in fs::read_dir(folder)? {
        let group = group?.path();
        for file in fs::read_dir(&group)? {
            scenarios.push(load(&file?.path())?);
        }
    }

    scenarios.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(scenarios)
}

fn load(file: &Path) -> io::Result<Scenario> {
    let text = fs::read_to_string(file)?;
    let mut scenario: Scenario = serde_json::from_str(&text)
        .map_err(|error| io::Error::other(format!("{}: {error}", file.display())))?;

    let group = file.parent().and_then(Path::file_name).unwrap_or_default();
    let name = file.file_stem().unwrap_or_default();
    scenario.name = format!("{}/{}", group.to_string_lossy(), name.to_string_lossy());
    Ok(scenario)
}
