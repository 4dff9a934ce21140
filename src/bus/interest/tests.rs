//! Groups that events mark while subscriptions come and go.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;
use crate::event::{EventParts, NewEvent};

fn filter(topics: &[String]) -> Filter {
    Filter::parse(topics.iter().map(String::as_str)).expect("a filter")
}

fn interest() -> Arc<Interest> {
    Arc::new(Interest::new(0))
}

fn event(topic: &str, vid: Vid) -> Arc<Event> {
    let parts = EventParts {
        topic,
        ..EventParts::default()
    };
    let sent = NewEvent::check(parts, 100).expect("an event");
    Arc::new(Event::new(vid, 0, sent))
}

#[derive(Debug, Clone)]
enum Action {
    Come(Vec<String>),
    Go(usize),
    Mark(Vec<String>),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let pattern = "(a|b|\\*)(\\.(a|b|\\*)){0,2}(\\.>)?";
    let topic = "(a|b)(\\.(a|b|c)){0,3}";
    let action = prop_oneof![
        vec(pattern, 1..4).prop_map(Action::Come),
        (0_usize..20).prop_map(Action::Go),
        vec(topic, 1..40).prop_map(Action::Mark),
    ];
    vec(action, 1..40)
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_same_groups_are_marked_as_by_a_plain_list(actions in actions()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        let _entered = runtime.enter(); // later rounds are tasks
        let (interest, mut list, mut vid) = (interest(), Vec::<Registration>::new(), 0);
        for action in actions {
            match action {
                Action::Come(topics) => {
                    let registered = interest.register(&filter(&topics), Waiter::new(0, None));
                    list.push(registered.expect("within bounds"));
                }
                Action::Go(at) if at < list.len() => drop(list.swap_remove(at)),
                Action::Go(_) => {}
                Action::Mark(topics) => {
                    let events = (vid + 1..).zip(&topics).map(|(vid, t)| event(t, vid));
                    let events: Vec<_> = events.collect();
                    let to_notify = interest.mark(&events, vid + topics.len() as Vid);
                    for group in &to_notify {
                        group.clone().notify(&Arc::default());
                    }
                    for registration in &list {
                        let group = registration.group();
                        let matches = |e: &&Arc<Event>| group.filter.matches(&e.sent.topic);
                        let matching = events.iter().filter(matches);
                        let first = matching.map(|e| e.vid).next();
                        let notified = to_notify.iter().filter(|g| g.number == group.number);
                        prop_assert_eq!(notified.count(), usize::from(first.is_some()));
                        prop_assert!(group.next_match(vid) <= first.unwrap_or(Vid::MAX));
                    }
                    let groups = to_notify.iter().map(|group| group.number);
                    let is_listed = |n| list.iter().any(|r| r.group().number == n);
                    prop_assert!(groups.clone().all(is_listed));
                    vid += topics.len() as Vid;
                }
            }
        }
        drop(list);
        let index = interest.index();
        prop_assert_eq!((index.patterns, index.groups.len()), (0, 0));
    }
}

/// Registers filters of so many patterns until one is refused.
fn fill(
    interest: &Arc<Interest>,
    mut pattern: impl FnMut(usize) -> String,
) -> (Vec<Registration>, Error) {
    let each = limits::MAX_FILTER_TOPICS;
    let mut taken = Vec::new();
    loop {
        let patterns: Vec<_> = (0..each).map(|n| pattern(taken.len() * each + n)).collect();
        match interest.register(&filter(&patterns), Waiter::new(0, None)) {
            Ok(registration) => taken.push(registration),
            Err(refused) => return (taken, refused),
        }
    }
}

#[test]
fn patterns_are_bounded_in_all_and_a_known_filter_costs_nothing() {
    let interest = interest();
    let (mut taken, refused) = fill(&interest, |n| format!("{n}.*"));
    assert_eq!(
        taken.len() * limits::MAX_FILTER_TOPICS,
        limits::MAX_PATTERNS
    );
    assert_eq!(refused.kind(), ErrorKind::Busy);
    assert!(refused.to_string().contains("500000"), "{refused}");
    assert_eq!(
        interest.subscribers(),
        taken.len(),
        "who was refused has not been added"
    );

    let known = taken[7].group().filter.clone();
    taken.push(
        interest
            .register(&known, Waiter::new(0, None))
            .expect("the same filter again"),
    );
    taken.swap_remove(3);
    let other = filter(&["other.*".to_owned()]);
    taken.push(
        interest
            .register(&other, Waiter::new(0, None))
            .expect("some have left"),
    );
}

#[test]
fn combinations_of_far_wildcards_are_bounded_in_all() {
    let interest = interest();
    let far = |n: usize| {
        let stars = (0..10).map(|bit| if n >> bit & 1 == 1 { "*" } else { "b" });
        let tokens = ["a"; limits::NEAR_TOKENS].into_iter().chain(stars);
        tokens.collect::<Vec<_>>().join(".")
    };
    let (mut taken, refused) = fill(&interest, far);
    assert_eq!(
        taken.len(),
        limits::MAX_FAR_SHAPES / limits::MAX_FILTER_TOPICS
    );
    assert_eq!(refused.kind(), ErrorKind::Busy);
    assert!(refused.to_string().contains("512"), "{refused}");

    let near = filter(&["*.*.*.*.*.*.b.>".to_owned()]);
    taken.push(
        interest
            .register(&near, Waiter::new(0, None))
            .expect("near ones are always taken"),
    );
    taken.pop();
    taken.pop();
    let same = (600..700).map(far).collect::<Vec<_>>();
    taken.push(
        interest
            .register(&filter(&same), Waiter::new(0, None))
            .expect("some have left"),
    );
}
