//! The topics of a stream, as its leader lists them.
//!
//! Invariants:
//! - a list has every topic that was there from its beginning to its end;
//! - no more of it is in memory than the servers list at once, and one is made at a time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::super::SharedStream;
use super::super::api::{Api, ApiError};
use super::newest::newest_of;
use super::plan::Plan;
use super::settle::{ReadOf, Tries, log_of};
use crate::cursor::{Epoch, Vid};
use crate::error::{Error, Result};
use crate::limits;
use crate::topic::{Filter, Topic};

/// Subjects that are listed again with the next part, to see that none between has been missed.
const OVERLAP: usize = 1000;

/// Topics that match, after this one, in byte order, with their newest vid.
pub(in crate::engine::jetstream) async fn topics(
    stream: &Arc<SharedStream>,
    filter: Filter,
    after: Option<Topic>,
    limit: usize,
) -> Result<Vec<(Topic, Vid)>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let stream = stream.clone();
    let listing = tokio::spawn(async move {
        let turn = stream.requests.lists.acquire();
        let _turn = timeout(limits::NATS_LIST_QUEUE, turn)
            .await
            .map_err(|_| Error::behind())?;
        let wanted = Wanted {
            filter,
            after,
            limit,
        };
        list(&stream, &wanted).await
    });
    let listed = AbortOnDropHandle::new(listing).await;
    listed.unwrap_or_else(|error| Err(Error::internal(format!("listing topics failed: {error}"))))
}

async fn list(stream: &SharedStream, wanted: &Wanted) -> Result<Vec<(Topic, Vid)>> {
    let state = stream.watch.state();
    let mut tries = Tries::of("a list of topics");
    loop {
        let listed = list_once(stream, wanted, state.lineage.epoch()).await;
        if let Some(topics) = tries.settle(listed).await? {
            return Ok(topics);
        }
    }
}

struct Wanted {
    filter: Filter,
    after: Option<Topic>,
    limit: usize,
}

impl Wanted {
    fn takes_in(&self, topic: &Topic) -> bool {
        let is_behind = self.after.as_ref().is_none_or(|after| topic > after);
        is_behind && self.filter.matches(topic)
    }
}

async fn list_once(
    stream: &SharedStream,
    wanted: &Wanted,
    epoch: &Epoch,
) -> std::result::Result<Option<Vec<(Topic, Vid)>>, ApiError> {
    let (topics, as_of) = first_topics(stream, wanted).await?;
    let subjects = topics.iter().map(|topic| stream.subjects.of(topic));
    let subjects: Vec<_> = subjects.collect();

    let mut vids: HashMap<String, Vid> = HashMap::with_capacity(subjects.len());
    for names in subjects.chunks(limits::NATS_SUBJECTS_AT_ONCE) {
        let found = newest_of(&stream.requests, names, as_of, |message| {
            vids.insert(message.subject, message.vid);
        });
        if found.await?.is_none() {
            return Ok(None);
        }
    }
    // One has been trimmed meanwhile, and another one belongs in its place.
    if vids.len() < topics.len() && topics.len() == wanted.limit {
        return Ok(None);
    }
    let Some(ReadOf::SameLog { .. }) = log_of(stream, epoch, as_of).await? else {
        return Ok(None);
    };
    let topics = topics.into_iter().zip(subjects);
    let found = topics.filter_map(|(topic, subject)| Some((topic, *vids.get(&subject)?)));
    Ok(Some(found.collect()))
}

/// The first topics in byte order, and the last vid of the stream when they were listed.
async fn first_topics(
    stream: &SharedStream,
    wanted: &Wanted,
) -> std::result::Result<(BTreeSet<Topic>, Vid), ApiError> {
    let (mut topics, mut as_of) = (BTreeSet::new(), 0);
    for matching in Plan::of_list(&wanted.filter, &stream.subjects) {
        let mut list = SubjectList::new(&stream.api, matching);
        while let Some(part) = list.try_next().await? {
            as_of = as_of.max(part.as_of);
            let found = part.names.iter().filter_map(|n| stream.subjects.topic(n));
            for topic in found.filter(|topic| wanted.takes_in(topic)) {
                topics.insert(topic);
                if topics.len() > wanted.limit {
                    topics.pop_last();
                }
            }
            // What comes behind is greater.
            let end = topics.last().filter(|_| topics.len() == wanted.limit);
            let has_passed = |end: &Topic| part.names.last() > Some(&stream.subjects.of(end));
            if end.is_some_and(has_passed) {
                break;
            }
        }
    }
    Ok((topics, as_of))
}

/// The sorted list of subjects that match, part by part.
pub(super) struct SubjectList<'a> {
    api: &'a Api,
    matching: String,
    offset: usize,
    last: Option<String>,
    has_ended: bool,
}

/// A part of the list.
pub(super) struct ListPart {
    /// Behind those of the part before.
    pub(super) names: Vec<String>,
    /// The last vid of the stream.
    pub(super) as_of: Vid,
}

impl<'a> SubjectList<'a> {
    pub(super) fn new(api: &'a Api, matching: String) -> Self {
        SubjectList {
            api,
            matching,
            offset: 0,
            last: None,
            has_ended: false,
        }
    }

    /// The next part; none at the end. It is asked for until it is there.
    ///
    /// # Errors
    /// The leader has not answered for too long.
    pub(super) async fn next(&mut self) -> Result<Option<ListPart>> {
        let mut tries = Tries::of("a list of subjects");
        loop {
            let part = self.try_next().await;
            if let Some(part) = tries.settle(part.map(Some)).await? {
                return Ok(part);
            }
        }
    }

    /// The same, asked once.
    pub(super) async fn try_next(&mut self) -> std::result::Result<Option<ListPart>, ApiError> {
        if self.has_ended {
            return Ok(None);
        }
        let wait = limits::NATS_LIST_WAIT;
        let page = self.api.subjects(&self.matching, self.offset, wait).await?;
        let (as_of, total) = (page.as_of(), page.total);
        let mut names = page.into_names();
        let listed_to = self.offset + names.len();

        if let Some(last) = &self.last {
            // Subjects have gone, and others have moved up to before this part.
            if names.first().is_none_or(|first| first > last) {
                self.offset = self.offset.saturating_sub(names.len().max(OVERLAP));
                return Err(ApiError::Broken("the list of subjects has moved".into()));
            }
            names.retain(|name| name > last);
        }
        self.has_ended = listed_to >= total;
        self.offset = listed_to.saturating_sub(OVERLAP);
        self.last = names.last().cloned().or(self.last.take());
        Ok(Some(ListPart { names, as_of }))
    }
}
