//! The budget, by itself.

use std::time::Duration;

use tokio::time::timeout;

use super::*;

fn kib(count: usize) -> Bytes {
    vec![b'x'; count * 1024].into()
}

#[test]
fn what_is_reserved_is_refused_to_others_until_it_is_dropped() {
    let budget = MemoryBudget::new(1000);
    let mut first = budget.reserve(MemoryKind::Queue, 600).expect("a part");
    let refused = budget.reserve(MemoryKind::Queue, 401).expect_err("no more");
    assert_eq!(refused.kind(), ErrorKind::OutOfMemory);
    assert_eq!(budget.used_bytes(MemoryKind::Queue), 600);
    assert!(budget.try_reserve(MemoryKind::Queue, 401).is_none());
    assert_eq!(budget.used_bytes(MemoryKind::Queue), 600);
    first.grow(400).expect("it fits exactly");
    first.grow(1).expect_err("no more");
    let refused = budget.refusals().counted(RefusalReason::Memory);
    assert_eq!(refused, 2, "who can do without it is not refused");
    first.resize(100).expect("less is always possible");
    budget.reserve(MemoryKind::Queue, 900).expect("a part");
    drop(first);
    assert_eq!(budget.used_bytes(MemoryKind::Queue), 0);
}

#[test]
fn what_is_unfinished_or_unread_leaves_a_quarter() {
    let budget = MemoryBudget::new(800);
    budget
        .reserve(MemoryKind::Body, 201)
        .expect_err("more than their share");
    let _bodies = budget.reserve(MemoryKind::Body, 200).expect("their share");
    let _answers = budget.charge(MemoryKind::Answer, 200);
    let _pages = budget.charge(MemoryKind::Page, 200);
    assert!(budget.is_used_up(MemoryKind::Page));
    assert!(!budget.is_used_up(MemoryKind::Queue));
    budget.reserve(MemoryKind::Queue, 200).expect("the rest");
}

#[test]
fn what_many_hold_is_paid_once() {
    let budget = MemoryBudget::new(1024 * 1024);
    let page = kib(8);
    let (first, second) = (budget.share(page.clone()), budget.share(page.clone()));
    assert_eq!(budget.used_bytes(MemoryKind::Page), 8 * 1024);
    let other = budget.share(kib(4));
    assert_eq!(budget.used_bytes(MemoryKind::Page), 12 * 1024);
    let part = first.slice(..100);
    drop((first, second, other, page));
    assert_eq!(budget.used_bytes(MemoryKind::Page), 8 * 1024);
    drop(part);
    assert_eq!(budget.used_bytes(MemoryKind::Page), 0);
}

#[test]
fn a_piece_that_is_owned_is_paid_until_its_last_part_is_dropped() {
    let budget = MemoryBudget::new(1024 * 1024);
    let mut answer = budget.own(MemoryKind::Answer, kib(8));
    let part = answer.split_to(10);
    drop(answer);
    assert_eq!(budget.used_bytes(MemoryKind::Answer), 8 * 1024);
    drop(part);
    assert_eq!(budget.used_bytes(MemoryKind::Answer), 0);
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_for_memory_go_on_when_there_is_some() {
    let budget = MemoryBudget::new(800);
    let pages = budget.charge(MemoryKind::Page, 200);
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let budget = budget.clone();
            tokio::spawn(async move { budget.until_pages_fit().await })
        })
        .collect();
    let none = timeout(Duration::from_secs(1), budget.until_pages_fit()).await;
    none.expect_err("nothing was given back");
    drop(pages);
    for one in waiting {
        timeout(Duration::from_secs(1), one)
            .await
            .expect("woken")
            .expect("no panic");
    }
}

#[test]
fn the_default_is_a_part_of_the_machine_and_no_less_than_the_least() {
    let bytes = MemoryBudget::default().limit_bytes() as u64;
    assert!(bytes >= limits::MIN_MEMORY_BUDGET_BYTES);
}
