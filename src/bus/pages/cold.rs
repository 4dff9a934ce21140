//! Old events, read from the engine once for many readers.
//!
//! Readers that come back after a while often ask for the same part of the log. Invariants:
//! - a block holds every event of its vids that the log had when it was read, up to its `through`;
//! - only vids that are visible are read into a block, so it is never out of date but for trimming,
//!   which is looked at afresh for each page, and for what is removed, after which no block that
//!   was read before is found any more;
//! - two readers of one block wait for one read; blocks are bounded by bytes;
//! - a block is loaded by a task of its own: a reader that stands still meanwhile, because its peer
//!   reads nothing, holds up no other, and when the one who loads has left the next one does it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio_util::task::AbortOnDropHandle;

use crate::cursor::Vid;
use crate::engine::{Engine, Page, PageBudget, ReadRequest};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::limits;
use crate::topic::Filter;

/// Vids of one block.
const BLOCK_VIDS: u64 = 512;

#[derive(Clone)]
struct Block {
    events: Arc<[Arc<Event>]>,
    through: Vid,
}

#[derive(Clone)]
struct BlockBytes;

/// A block's number, in one generation of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct BlockKey {
    generation: u64,
    number: u64,
    /// Counts removals and resets.
    era: u64,
}

impl Weighter<BlockKey, Block> for BlockBytes {
    fn weight(&self, _: &BlockKey, block: &Block) -> u64 {
        1 + block
            .events
            .iter()
            .map(|event| event.size_bytes() as u64)
            .sum::<u64>()
    }
}

type Blocks = Cache<BlockKey, Block, BlockBytes>;

pub(super) struct ColdBlocks {
    blocks: Arc<Blocks>,
    era: AtomicU64,
}

impl ColdBlocks {
    pub(super) fn new() -> Self {
        let bytes = limits::COLD_CACHE_BYTES as u64;

        // Only an estimate, for the cache's own tables; the bytes are what bounds it.
        let about_so_many = limits::COLD_CACHE_BYTES / limits::PAGE_BYTES;
        ColdBlocks {
            blocks: Arc::new(Cache::with_weighter(about_so_many, bytes, BlockBytes)),
            era: AtomicU64::new(0),
        }
    }

    /// A page, from a shared block where one fits: the filter has to read the log anyway, and the
    /// block has to be visible as a whole. Everything else is the engine's.
    pub(super) async fn read(
        &self,
        engine: &Arc<dyn Engine>,
        generation: u64,
        request: ReadRequest,
    ) -> Result<Page> {
        // A filter of a few topics is found by the engine's index, without reading the rest.
        let number = request.after / BLOCK_VIDS;
        if !request.filter.is_broad()
            || (number + 1) * BLOCK_VIDS > request.through
            || engine.finds_topics(&request.filter).await?
        {
            return engine.read(request).await;
        }

        // Before it is read: after a removal meanwhile nobody finds it.
        let key = BlockKey {
            generation,
            number,
            era: self.era.load(Ordering::SeqCst),
        };
        let block = match self.blocks.get(&key) {
            Some(block) => block,
            None => self.load(engine, key).await?,
        };
        // Its events are so large that the block ends early.
        if block.through <= request.after {
            return engine.read(request).await;
        }

        // Asked now: trimming may have gone on since the block was read.
        let first = engine.state().bounds.first;
        Ok(Page::fill(
            block.events.iter(),
            &request,
            block.through,
            first,
            |event| request.filter.matches(&event.sent.topic),
        ))
    }

    /// After a reset or a removal: nobody finds what was read before.
    pub(super) fn forget_all(&self) {
        self.era.fetch_add(1, Ordering::SeqCst);
        self.blocks.clear();
    }

    /// Loads a block, or waits for another one who does.
    async fn load(&self, engine: &Arc<dyn Engine>, key: BlockKey) -> Result<Block> {
        // A task of its own, which goes on while its reader stands still and ends with it.
        let (blocks, engine) = (self.blocks.clone(), engine.clone());
        let loading = tokio::spawn(async move {
            blocks
                .get_or_insert_async(&key, read_block(&*engine, key.number))
                .await
        });
        AbortOnDropHandle::new(loading)
            .await
            .unwrap_or_else(|e| Err(Error::internal(format!("loading old events failed: {e}"))))
    }
}

async fn read_block(engine: &dyn Engine, number: u64) -> Result<Block> {
    // Readers of any filter share the block, so it is read without one.
    let page = engine
        .read(ReadRequest {
            after: number * BLOCK_VIDS,
            through: (number + 1) * BLOCK_VIDS,
            filter: Filter::everything(),
            budget: PageBudget::of_events(limits::PAGE_EVENTS),
        })
        .await?;
    Ok(Block {
        events: page.events.into(),
        through: page.through,
    })
}

const _: () = assert!(
    limits::PAGE_EVENTS as u64 >= BLOCK_VIDS,
    "a block is one page of the engine"
);
