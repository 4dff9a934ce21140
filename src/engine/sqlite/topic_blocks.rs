//! In which blocks of the log a topic has events, and where in them.
//!
//! A row of the index has the places of a topic's events within a block, two bytes each, as long as
//! they are few. They are fetched one by one; where they are many, or were written by a version
//! that did not note them, the block is looked through. Invariants:
//! - blocks come in order, each once, with every topic that has events in it;
//! - a step to the next block costs a look for each topic of the one before, however many topics
//!   there are in all.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::page_builder::VidRange;
use super::{BLOCK_VIDS, block_of, from_sql, to_sql};
use crate::cursor::Vid;

/// Bytes of a place.
const PLACE_BYTES: usize = 2;
/// A topic with more events in a block has no places there.
pub(super) const MOST_PLACES: usize = 64;
/// Bytes of so many places.
pub(super) const MOST_PLACES_BYTES: i64 = 128;
/// A block in which the topics have more events than this is looked through: that costs as much as
/// so many fetches.
const MOST_FETCHED: usize = 512;

const _: () = assert!(MOST_FETCHED as u64 * 8 == BLOCK_VIDS);
const _: () = assert!(MOST_PLACES * PLACE_BYTES == 128);

const SELECT_NEXT: &str = "
SELECT block, places FROM topic_blocks
WHERE topic_id = ?1 AND block >= ?2 ORDER BY block LIMIT 1";

/// Within its block, for the index.
pub(super) fn place_of(vid: Vid) -> [u8; PLACE_BYTES] {
    let place = vid % BLOCK_VIDS;
    u16::try_from(place)
        .expect("a block has 4096 vids")
        .to_be_bytes()
}

/// The events that topics have in a block.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TopicBlock {
    block: u64,
    topic_id: i64,
    /// None where the block has to be looked through.
    places: Option<Vec<u8>>,
}

/// A block, and where in it the topics have events.
pub(super) struct NextBlock {
    pub(super) number: u64,
    /// In order; none where it has to be looked through.
    pub(super) vids: Option<Vec<Vid>>,
}

/// The blocks of some topics, in order.
pub(super) struct TopicBlocks<'c> {
    select_next: CachedStatement<'c>,
    /// The next block of each topic.
    next: BinaryHeap<Reverse<TopicBlock>>,
    last_block: u64,
}

impl<'c> TopicBlocks<'c> {
    /// Those of a range of vids.
    pub(super) fn find(
        connection: &'c Connection,
        topic_ids: &[i64],
        range: VidRange,
    ) -> rusqlite::Result<Self> {
        let mut blocks = TopicBlocks {
            select_next: connection.prepare_cached(SELECT_NEXT)?,
            next: BinaryHeap::new(),
            last_block: block_of(range.through),
        };
        if !range.is_empty() {
            for topic_id in topic_ids {
                blocks.look_for(*topic_id, block_of(range.after + 1))?;
            }
        }
        Ok(blocks)
    }

    /// Looks for the first block of a topic from this one on.
    fn look_for(&mut self, topic_id: i64, from: u64) -> rusqlite::Result<()> {
        let key = params![topic_id, to_sql(from)];
        let found = self.select_next.query_row(key, |row| {
            Ok(TopicBlock {
                block: from_sql(row.get(0)?),
                topic_id,
                places: row.get(1)?,
            })
        });
        let found = found.optional()?;
        let within = found.filter(|found| found.block <= self.last_block);
        self.next.extend(within.map(Reverse));
        Ok(())
    }

    /// The next block in which one of the topics has events.
    pub(super) fn next(&mut self) -> rusqlite::Result<Option<NextBlock>> {
        let Some(Reverse(first)) = self.next.peek() else {
            return Ok(None);
        };
        let number = first.block;
        let mut vids = Some(Vec::new());
        while let Some(found) = self.pop_of(number) {
            add_vids(&mut vids, &found);
            self.look_for(found.topic_id, number + 1)?;
        }
        if let Some(vids) = &mut vids {
            vids.sort_unstable();
        }
        Ok(Some(NextBlock { number, vids }))
    }

    fn pop_of(&mut self, block: u64) -> Option<TopicBlock> {
        self.next
            .peek()
            .filter(|Reverse(found)| found.block == block)?;
        self.next.pop().map(|Reverse(found)| found)
    }
}

/// Adds where a topic has events; there is no list any more once it is too long.
fn add_vids(vids: &mut Option<Vec<Vid>>, found: &TopicBlock) {
    let Some(list) = vids else { return };
    match &found.places {
        Some(places) if list.len() < MOST_FETCHED => {
            let places = places.chunks_exact(PLACE_BYTES);
            let start = found.block * BLOCK_VIDS;
            list.extend(places.map(|p| start + Vid::from(u16::from_be_bytes([p[0], p[1]]))));
        }
        _ => *vids = None,
    }
}
