//! The time between rounds, and rounds that are written out.

use super::*;

/// With so many commits in the time of the longest spacing that a round gathers several.
const FREE: Demand = Demand {
    busy_permille: 0,
    commits_permille: 4_000,
};
const SHORT: Demand = Demand {
    busy_permille: 1000,
    commits_permille: 4_000,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The round after another one.
fn after(last: Round, now: Instant, readers: usize, writing: Duration, demand: Demand) -> Round {
    last.followed_by(
        now,
        &Spacing::new(readers, writing, demand),
        chunks(readers),
    )
}

#[test]
fn on_a_busy_machine_rounds_to_many_are_spaced_and_never_for_long() {
    let begin = Instant::now();
    for readers in [100_usize, 1000, 10_000, 10_000_000] {
        let mut last = Round::at_once(begin);
        let mut notified = vec![begin; readers.div_ceil(CHUNK)];
        for _ in 0..3 {
            let round = after(last, last.begin, readers, ms(1), SHORT);
            for (chunk, notified) in (0..).zip(&mut notified) {
                let now = round.begin + round.pace() * chunk;
                assert!(now > *notified);
                assert!(now - *notified <= limits::MAX_ROUND_SPACING + ms(1));
                *notified = now;
            }
            last = round;
        }
        let quiet = last.begin + longest_spacing(readers);
        assert!(after(last, quiet, readers, ms(1), SHORT).is_at_once());
    }
}

#[test]
fn while_cores_are_free_a_round_begins_once_the_last_one_is_written() {
    let begin = Instant::now();
    for (readers, writing) in [(1000, ms(8)), (10_000, ms(70))] {
        let round = after(Round::at_once(begin), begin, readers, writing, FREE);
        assert_eq!(round, Round::at_once(begin + writing));
        let now = begin + writing + ms(1);
        let round = after(Round::at_once(begin), now, readers, writing, FREE);
        assert_eq!(round, Round::at_once(now));
    }
}

#[test]
fn the_busier_the_machine_the_longer_a_round_waits() {
    let spacings = (0..=20).map(|twentieths| {
        let busy_permille = twentieths * 50;
        let demand = Demand {
            busy_permille,
            ..FREE
        };
        Spacing::new(1000, ms(8), demand).total
    });
    let spacings: Vec<Duration> = spacings.collect();
    assert!(spacings.is_sorted());
    assert_eq!((spacings[0], spacings[20]), (ms(8), longest_spacing(1000)));
    // However long writing takes, nobody waits longer than on a busy machine.
    assert_eq!(
        Spacing::new(1000, ms(900), FREE).total,
        longest_spacing(1000)
    );
}

#[test]
fn rounds_that_gather_hardly_more_than_one_commit_wait_only_on_a_busier_machine() {
    let from = |commits_permille| {
        let loads = (0..=100).map(|hundredths| hundredths * 10);
        let waits = |busy_permille: &u32| {
            let demand = Demand {
                busy_permille: *busy_permille,
                commits_permille,
            };
            demand.held_back_permille(0) > 0
        };
        loads
            .into_iter()
            .find(waits)
            .expect("a load that is held back")
    };
    assert_eq!([from(1_000), from(1_500), from(1_750)], [660, 660, 580]);
    assert_eq!([from(2_000), from(4_000)], [510, 510]);
}

#[tokio::test(start_paused = true)]
async fn the_more_commits_there_are_to_report_the_longer_a_round_waits() {
    let (rounds, readers, mut spacings) = (Rounds::default(), 1000, Vec::new());
    for commits in [1, 1, 10, 100, 100, 1, 1, 1, 1, 1, 1] {
        rounds.begin(Round::at_once(Instant::now()), readers, commits);
        rounds.all_notified();
        let demand = Demand {
            busy_permille: 0,
            commits_permille: rounds.state().commits_permille,
        };
        spacings.push(Spacing::new(readers, ms(8), demand).total);
        tokio::time::advance(longest_spacing(readers)).await;
    }
    assert_eq!(spacings[1], ms(8), "one at a time is reported at once");
    assert!(spacings[4] > ms(8), "many are gathered");
    assert_eq!(spacings[10], ms(8), "and it is so again when they are few");
}

#[test]
fn as_many_commits_are_reported_at_once_where_a_round_is_written_before_the_next_one_comes() {
    let fast = Demand {
        busy_permille: 0,
        commits_permille: 11_000,
    };
    assert!(Spacing::new(1000, ms(8), fast).is_spread);
    assert!(!Spacing::new(1000, ms(2), fast).is_spread);
}

#[tokio::test(start_paused = true)]
async fn a_round_waits_for_the_writes_of_the_last_one_but_not_for_stragglers() {
    let (rounds, readers) = (Rounds::default(), 160);
    rounds.begin(Round::at_once(Instant::now()), readers, 1);
    rounds.notifies(readers);
    tokio::time::advance(ms(3)).await;
    for _ in 0..150 {
        rounds.has_written();
    }
    assert!(!rounds.is_written(), "others have yet to be notified");
    rounds.all_notified();
    assert!(rounds.is_written(), "ten of 160 are few");
    assert_eq!(rounds.state().writing_takes, ms(3));

    // Those ten are late, and nobody waits for them again.
    rounds.begin(Round::at_once(Instant::now()), readers, 1);
    rounds.notifies(150);
    rounds.all_notified();
    (0..139).for_each(|_| rounds.has_written());
    assert!(!rounds.is_written());
    rounds.has_written();
    assert!(rounds.is_written());
}

#[tokio::test(start_paused = true)]
async fn readers_that_never_finish_hold_a_round_up_for_the_longest_spacing() {
    let (rounds, readers) = (Rounds::default(), 1000);
    rounds.begin(Round::at_once(Instant::now()), readers, 1);
    rounds.notifies(readers);
    rounds.all_notified();
    let begin = Instant::now();
    rounds.written(readers).await;
    assert_eq!(begin.elapsed(), longest_spacing(readers));
}
