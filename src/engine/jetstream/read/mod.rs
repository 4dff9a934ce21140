//! Reading the stream.

use super::SharedStream;
use crate::cursor::Vid;
use crate::engine::{Page, ReadRequest};
use crate::error::{Error, Result};
use crate::topic::{Filter, Topic};

pub(super) async fn page(_stream: &SharedStream, _request: ReadRequest) -> Result<Page> {
    Err(Error::internal("reading"))
}

pub(super) async fn newest(_stream: &SharedStream, _request: ReadRequest) -> Result<Page> {
    Err(Error::internal("reading"))
}

pub(super) async fn vid_before(_stream: &SharedStream, _time_ms: i64) -> Result<Vid> {
    Err(Error::internal("reading"))
}

pub(super) async fn topics(
    _stream: &SharedStream,
    _filter: Filter,
    _after: Option<Topic>,
    _limit: usize,
) -> Result<Vec<(Topic, Vid)>> {
    Err(Error::internal("reading"))
}
