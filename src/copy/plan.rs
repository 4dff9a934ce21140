//! What a copy will do, or why it would not end well.
//!
//! Invariant: events keep their vids only where everything that the target has is the same on the
//! source.

use crate::cursor::Vid;
use crate::engine::import::{CopiedVids, CopyError, CopyTarget, Standing};
use crate::engine::{LogState, Retention, Sizes};

/// What a person has chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlanOptions {
    /// Events may get new vids.
    pub(crate) renumber: bool,
    /// For how long the target keeps events.
    pub(crate) retention: Retention,
}

/// What is to be copied.
#[derive(Debug, Clone)]
pub(crate) struct CopyPlan {
    /// What the source was when the copy began; what comes later is for another run.
    pub(crate) source: LogState,
    pub(crate) vids: CopiedVids,
    /// Everything of the source up to this vid is on the target already.
    pub(crate) after: Vid,
    /// An earlier run has begun it.
    pub(crate) goes_on: bool,
    most_holes: u64,
}

/// Finds what there is to do for a copy. None: the target has everything.
///
/// # Errors
/// It would not end well; the text says what to do about it.
pub(crate) async fn plan(
    source: LogState,
    target: &dyn CopyTarget,
    options: PlanOptions,
) -> Result<Option<CopyPlan>, CopyError> {
    let standing = target.standing(&source).await?;
    let Some(plan) = choose(source, &standing, target.most_holes(), options.renumber)? else {
        return Ok(None);
    };
    plan.check_holes(plan.expected_holes())?;
    plan.check_fits(&standing, options.retention)?;
    Ok(Some(plan))
}

fn choose(
    source: LogState,
    standing: &Standing,
    most_holes: u64,
    may_renumber: bool,
) -> Result<Option<CopyPlan>, CopyError> {
    let (own, before_first) = (standing.bounds, source.bounds.first.saturating_sub(1));
    let copied = standing.same_through.max(standing.renumbered_through);
    let has_all = copied.is_some_and(|copied| copied >= source.bounds.last);
    // The source is empty, and always was, or the target begins at the same vid already.
    let is_as_empty = source.sizes.events == 0 && own.last == source.bounds.last;
    if has_all || is_as_empty {
        return Ok(None);
    }

    // The target has nothing, or nothing but what the source has as well.
    let is_same = standing.same_through == Some(own.last);
    let is_empty = standing.sizes.events == 0 && own.last <= before_first;
    let plan = |vids, after| CopyPlan {
        goes_on: copied.is_some(),
        source,
        vids,
        after,
        most_holes,
    };
    if is_same {
        return Ok(Some(plan(CopiedVids::Kept, own.last)));
    }
    if is_empty {
        return Ok(Some(plan(CopiedVids::Kept, before_first)));
    }
    if may_renumber {
        let after = copied.unwrap_or(before_first);
        return Ok(Some(plan(CopiedVids::New, after)));
    }
    Err(has_its_own(standing, copied))
}

impl CopyPlan {
    /// How many events there are still to copy, at most.
    pub(crate) fn events(&self) -> u64 {
        let vids = self.source.bounds.last - self.after;
        vids.min(self.source.sizes.events)
    }

    /// Vids without an event, where that is known before it is read.
    fn expected_holes(&self) -> u64 {
        let is_whole = self.after < self.source.bounds.first;
        let vids = self.source.bounds.last - self.after;
        match self.vids {
            CopiedVids::Kept if is_whole => vids - self.events(),
            _ => 0,
        }
    }

    /// Refuses more holes than the target can leave out.
    pub(super) fn check_holes(&self, holes: u64) -> Result<(), CopyError> {
        if holes <= self.most_holes {
            return Ok(());
        }
        let most = self.most_holes;
        Err(CopyError::new(format!(
            "the source has {holes} vids without an event or more, and a stream of NATS needs a \
             message in the place of each: at most {most} are stored. Give --renumber, and events \
             get new vids: cursors of the source then get a gap (reset)"
        )))
    }

    /// Refuses what the target would not keep.
    fn check_fits(&self, standing: &Standing, retention: Retention) -> Result<(), CopyError> {
        let more = self.sizes();
        let events = standing.sizes.events + more.events + self.expected_holes();
        let bytes = standing.sizes.bytes + more.bytes + standing.overhead_bytes * more.events;
        let most_events = retention.max_events.min(standing.max_events);
        let most_bytes = retention.max_bytes.min(standing.max_bytes);
        if events > most_events {
            return Err(too_much("events", events, "max_events", most_events));
        }
        if bytes > most_bytes {
            return Err(too_much("bytes", bytes, "max_bytes", most_bytes));
        }
        Ok(())
    }

    /// Of what is still to copy, about.
    fn sizes(&self) -> Sizes {
        let (all, events) = (self.source.sizes, self.events());
        let bytes = u128::from(all.bytes) * u128::from(events) / u128::from(all.events.max(1));
        Sizes {
            events,
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        }
    }
}

fn too_much(what: &str, found: u64, setting: &str, most: u64) -> CopyError {
    CopyError::new(format!(
        "the target would have {found} {what}, and keeps {most} of them (retention.{setting}): the \
         oldest events would leave it at once. Raise that in the file of --to-config, and on a \
         stream that is there already with `nats stream edit`, or let the source keep less"
    ))
}

fn has_its_own(standing: &Standing, same: Option<Vid>) -> CopyError {
    let (first, last) = (standing.bounds.first, standing.bounds.last);
    let own = match same {
        Some(same) if same < last => {
            format!("both logs are the same up to vid {same}, and then each went on by itself")
        }
        _ => format!("it has events of its own, or had some: its vids are {first} to {last}"),
    };
    CopyError::new(format!(
        "the target cannot keep the vids of the source: {own}. Copy into an empty one, or give \
         --renumber: events then get the next vids of the target, as if they came now, and cursors \
         of the source get a gap (reset)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Bounds;
    use crate::lineage::Lineage;

    fn source(first: Vid, last: Vid, events: u64) -> LogState {
        LogState {
            lineage: Lineage::new("source".parse().expect("an epoch")),
            bounds: Bounds { first, last },
            sizes: Sizes {
                events,
                bytes: events * 100,
            },
            live: true,
        }
    }

    fn target(first: Vid, last: Vid, events: u64) -> Standing {
        Standing {
            bounds: Bounds { first, last },
            sizes: Sizes {
                events,
                bytes: events * 100,
            },
            same_through: None,
            renumbered_through: None,
            max_events: 1000,
            max_bytes: 1_000_000,
            overhead_bytes: 0,
        }
    }

    /// What is chosen for a source with vids 11 to 20: whether vids are kept, and after which vid.
    fn chosen(standing: &Standing, may_renumber: bool) -> Result<Option<(bool, Vid)>, String> {
        let chosen = choose(source(11, 20, 10), standing, 100, may_renumber);
        let chosen = chosen.map_err(|error| error.to_string())?;
        Ok(chosen.map(|plan| (plan.vids == CopiedVids::Kept, plan.after)))
    }

    #[test]
    fn vids_are_kept_where_the_target_is_empty_or_has_the_same_events() {
        assert_eq!(chosen(&target(1, 0, 0), false), Ok(Some((true, 10))));
        assert_eq!(chosen(&target(6, 5, 0), false), Ok(Some((true, 10))));
        let half = Standing {
            same_through: Some(15),
            ..target(11, 15, 5)
        };
        assert_eq!(chosen(&half, true), Ok(Some((true, 15))));
        let all = Standing {
            same_through: Some(20),
            ..target(11, 25, 15)
        };
        assert_eq!(chosen(&all, false), Ok(None));
    }

    #[test]
    fn events_get_new_vids_only_where_a_person_says_so() {
        let others = target(1, 5, 5);
        let said = chosen(&others, false).expect_err("a refusal");
        assert!(said.contains("vids are 1 to 5"), "{said}");
        assert!(chosen(&target(6, 10, 5), false).is_err());
        assert!(chosen(&target(21, 20, 0), false).is_err(), "it had some");
        assert_eq!(chosen(&others, true), Ok(Some((false, 10))));
        let begun = Standing {
            renumbered_through: Some(17),
            ..others
        };
        assert_eq!(chosen(&begun, true), Ok(Some((false, 17))));

        let branched = Standing {
            same_through: Some(15),
            ..target(11, 16, 6)
        };
        let said = chosen(&branched, false).expect_err("a refusal");
        assert!(said.contains("the same up to vid 15"), "{said}");
        assert_eq!(chosen(&branched, true), Ok(Some((false, 15))));
    }

    #[test]
    fn what_the_target_would_not_keep_is_refused() {
        let fits = |events, holes| {
            let state = source(1, events + holes, events);
            let empty = target(1, 0, 0);
            let plan = choose(state, &empty, 100, false).expect("a choice");
            let plan = plan.expect("a plan");
            let retention = Retention {
                max_age: std::time::Duration::from_secs(60),
                max_events: 500,
                max_bytes: 20_000,
                dedupe_window: std::time::Duration::from_secs(1),
            };
            plan.check_holes(plan.expected_holes())
                .and_then(|()| plan.check_fits(&empty, retention))
                .map_err(|error| error.to_string())
        };
        assert_eq!(fits(200, 100), Ok(()));
        let said = |events, holes| fits(events, holes).expect_err("a refusal");
        assert!(said(201, 0).contains("retention.max_bytes"));
        assert!(said(501, 0).contains("retention.max_events"));
        assert!(said(10, 101).contains("--renumber"));
    }
}
