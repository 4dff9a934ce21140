//! What happens to a gateway, as a script that reads like one.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::select;

use crate::common::read::{ALL, Transport};

pub const TOPICS: [&str; 6] = ["a", "a.1", "a.2", "b.1", "b.1.x", "text.t"];
pub const FILTERS: [&[&str]; 7] = [
    &[],
    &["a"],
    &["a.*"],
    &["b.>", "text.t"],
    &["*.1"],
    &["none"],
    &["a", "a.1", "b.1", "text.t"],
];

/// Subscriptions have names, so that a shorter script still speaks of the same ones.
pub const NAMES: [char; 3] = ['A', 'B', 'C'];

/// An event that is to be published.
#[derive(Clone)]
pub struct Draft {
    pub topic: &'static str,
    pub id: Option<u8>,
    pub bytes: usize,
}

/// Which way a publisher takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Events,
    /// `/v1/topics/TOPIC`, where it is one event.
    Topic,
    Grpc,
    /// The bus itself, with no wire between it and the next command.
    Bus,
}

/// What leaves the log.
#[derive(Clone, Copy)]
pub enum Trim {
    Keep(u64),
    All,
}

/// Where a subscription starts.
#[derive(Clone)]
pub enum From {
    Latest,
    Earliest,
    Zero,
    Snapshot,
    /// The time just before the newest publish but so many.
    Since(usize),
    /// So many before the newest vid, with or without the epoch.
    Back(u64, bool),
    AnotherLog(u64),
    /// So many beyond the newest vid.
    Ahead(u64),
}

#[derive(Clone)]
pub struct Open {
    pub name: usize,
    pub via: Transport,
    pub filter: usize,
    pub from: From,
    pub fail_on_gap: bool,
    pub limit: Option<u32>,
}

#[derive(Clone)]
pub enum Command {
    Publish(Vec<Draft>, Door),
    /// Trims; that subscription is read to its end meanwhile.
    Trim(Trim, Option<usize>),
    /// Publishes by the bus and trims at once.
    Burst(Vec<Draft>, u64),
    ForgetIds,
    Restart,
    /// Goes on with what was on disk while these were being published, so many moments after their
    /// start.
    Crash(Vec<Draft>, u32),
    Open(Open),
    /// Opens with a cursor so far ahead, and publishes while it waits.
    OpenAhead(Open, u64, Vec<Draft>),
    /// Reads so many steps, or to the end.
    Read(usize, Option<usize>),
    Resume(usize, Transport),
}

/// A whole script.
#[derive(Clone)]
pub struct Script(pub Vec<Command>);

pub fn scripts(length: std::ops::Range<usize>) -> impl Strategy<Value = Script> {
    prop::collection::vec(command(), length).prop_map(Script)
}

fn command() -> impl Strategy<Value = Command> {
    let door = select(&[Door::Events, Door::Topic, Door::Grpc, Door::Bus][..]);
    let name = 0..NAMES.len();
    let steps = prop_oneof![1 => Just(None), 1 => (1..6_usize).prop_map(Some)];
    prop_oneof![
        60 => (drafts(1..7), door).prop_map(|(drafts, door)| Command::Publish(drafts, door)),
        12 => (trim(), prop::option::weighted(0.3, name.clone())).prop_map(|(trim, name)| Command::Trim(trim, name)),
        6 => (drafts(1..7), 0..6_u64).prop_map(|(drafts, keep)| Command::Burst(drafts, keep)),
        2 => Just(Command::ForgetIds),
        4 => Just(Command::Restart),
        4 => (drafts(0..4), 0..20_u32).prop_map(|(drafts, moments)| Command::Crash(drafts, moments)),
        45 => open().prop_map(Command::Open),
        1 => (open(), 1..4_u64, drafts(4..7))
            .prop_map(|(open, ahead, drafts)| Command::OpenAhead(open, ahead, drafts)),
        45 => (name.clone(), steps).prop_map(|(name, steps)| Command::Read(name, steps)),
        20 => (name, select(&ALL[..])).prop_map(|(name, via)| Command::Resume(name, via)),
    ]
}

fn drafts(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Draft>> {
    let bytes = prop_oneof![60 => Just(0), 10 => Just(9_000_usize), 2 => Just(200_000)];
    let draft = (
        select(&TOPICS[..]),
        prop::option::weighted(0.3, 0..6_u8),
        bytes,
    )
        .prop_map(|(topic, id, bytes)| Draft { topic, id, bytes });
    prop::collection::vec(draft, count)
}

fn trim() -> impl Strategy<Value = Trim> {
    prop_oneof![3 => (0..8_u64).prop_map(Trim::Keep), 1 => Just(Trim::All)]
}

fn open() -> impl Strategy<Value = Open> {
    let from = prop_oneof![
        40 => Just(From::Earliest),
        20 => Just(From::Latest),
        10 => Just(From::Zero),
        30 => Just(From::Snapshot),
        20 => (0..4_usize).prop_map(From::Since),
        60 => (0..12_u64, any::<bool>()).prop_map(|(back, epoch)| From::Back(back, epoch)),
        12 => (0..4_u64).prop_map(From::AnotherLog),
        1 => (1..4_u64).prop_map(From::Ahead),
    ];
    let limit = prop::option::weighted(0.2, 1..4_u32);
    let fail_on_gap = prop::bool::weighted(0.2);
    (
        0..NAMES.len(),
        select(&ALL[..]),
        0..FILTERS.len(),
        from,
        fail_on_gap,
        limit,
    )
        .prop_map(|(name, via, filter, from, fail_on_gap, limit)| Open {
            name,
            via,
            filter,
            from,
            fail_on_gap,
            limit,
        })
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .enumerate()
            .try_for_each(|(index, command)| writeln!(f, "{:3}. {command:?}", index + 1))
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Publish(drafts, door) => write!(f, "publish {drafts:?} by {door:?}"),
            Command::Trim(trim, None) => write!(f, "trim {trim:?}"),
            Command::Trim(trim, Some(name)) => {
                write!(f, "trim {trim:?} while {} is read", NAMES[*name])
            }
            Command::Burst(drafts, keep) => write!(f, "publish {drafts:?} and at once keep {keep}"),
            Command::ForgetIds => write!(f, "forget the ids"),
            Command::Restart => write!(f, "restart"),
            Command::Crash(drafts, _) if drafts.is_empty() => write!(f, "crash"),
            Command::Crash(drafts, moments) => {
                write!(f, "crash {moments} moments after publishing {drafts:?}")
            }
            Command::Open(open) => write!(f, "{open:?}"),
            Command::OpenAhead(open, ahead, drafts) => {
                write!(f, "{open:?}, but {ahead} ahead; publish {drafts:?}")
            }
            Command::Read(name, None) => write!(f, "read {} to the end", NAMES[*name]),
            Command::Read(name, Some(steps)) => write!(f, "read {}: {steps} steps", NAMES[*name]),
            Command::Resume(name, via) => write!(f, "resume {} by {via:?}", NAMES[*name]),
        }
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Open {
            name,
            via,
            filter,
            from,
            fail_on_gap,
            limit,
        } = self;
        write!(
            f,
            "open {} by {via:?} on {:?} from {from:?}",
            NAMES[*name], FILTERS[*filter]
        )?;
        if *fail_on_gap {
            write!(f, ", fail on gap")?;
        }
        limit
            .iter()
            .try_for_each(|limit| write!(f, ", limit {limit}"))
    }
}

impl fmt::Debug for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            From::Latest => write!(f, "latest"),
            From::Earliest => write!(f, "earliest"),
            From::Zero => write!(f, "0"),
            From::Snapshot => write!(f, "snapshot"),
            From::Since(0) => write!(f, "since the last publish"),
            From::Since(before) => write!(f, "since the last publish but {before}"),
            From::Back(back, true) => write!(f, "last-{back} with epoch"),
            From::Back(back, false) => write!(f, "last-{back}"),
            From::AnotherLog(back) => write!(f, "last-{back} of another log"),
            From::Ahead(ahead) => write!(f, "last+{ahead}"),
        }
    }
}

impl fmt::Debug for Trim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trim::Keep(events) => write!(f, "to {events}"),
            Trim::All => write!(f, "all by age"),
        }
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.topic)?;
        self.id.iter().try_for_each(|id| write!(f, "#{id}"))?;
        if self.bytes > 0 {
            write!(f, " ({} kB)", self.bytes / 1000)
        } else {
            Ok(())
        }
    }
}
