//! Clients that take what they may, and one more.

use super::*;
use crate::error::{Error, ErrorKind};
use crate::metrics::Refusals;
use crate::quota::ClientLimits;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("not zero")
}

fn at_most(subscriptions: u32) -> ClientLimits {
    ClientLimits {
        subscriptions: Some(number(subscriptions)),
        publish: None,
    }
}

fn slowly(burst: u32) -> ClientLimits {
    let publish = PublishRate {
        events_per_second: number(1),
        burst_events: number(burst),
    };
    ClientLimits {
        subscriptions: None,
        publish: Some(publish),
    }
}

fn quotas() -> Quotas {
    Quotas::new(Refusals::default())
}

fn token(subject: &str) -> Identity {
    Identity::Token(Some(subject.into()))
}

/// A request of its own from this address, on a connection of its own.
fn request(quotas: &Quotas, rules: &QuotaRules, address: &str, identity: &Identity) -> Allowance {
    let client = Client {
        address: Some(ClientAddress::of(address.parse().ok())),
        identity,
        connection: &ConnectionCount::default(),
    };
    Allowance::new(quotas, rules, client)
}

fn refused<T: std::fmt::Debug>(result: Result<T>, setting: &str) -> Error {
    let error = result.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.to_string().contains(setting), "{error}");
    error
}

#[test]
fn a_client_has_as_many_subscriptions_as_it_may_and_each_other_one_too() {
    let (quotas, anonymous) = (quotas(), Identity::Anonymous);
    let rules = QuotaRules {
        address: at_most(2),
        ..QuotaRules::default()
    };
    let from = |address| request(&quotas, &rules, address, &anonymous).take_subscription();
    let open = [from("192.0.2.1"), from("192.0.2.1"), from("192.0.2.2")];
    let mut open = open.map(|permit| permit.expect("a place")).into_iter();
    refused(from("192.0.2.1"), "limits.address.subscriptions");
    from("192.0.2.2").expect("another address has a place");

    drop(open.next());
    from("192.0.2.1").expect("the place of the one that has ended");
    drop(open);
    let table = quotas.open(crate::quota::ClientKind::Address);
    assert_eq!(table.clients(), 0, "who has none open takes no memory");
}

#[test]
fn who_is_refused_by_one_limit_has_taken_nothing_of_another() {
    let quotas = quotas();
    let rules = QuotaRules {
        address: at_most(2),
        caller: at_most(1),
        ..QuotaRules::default()
    };
    let open = |subject| request(&quotas, &rules, "192.0.2.1", &token(subject)).take_subscription();
    let _anne = open("anne").expect("a place");
    for _ in 0..9 {
        refused(open("anne"), "limits.caller.subscriptions");
    }
    let _bob = open("bob").expect("the other place of the address");
    refused(open("carl"), "limits.address.subscriptions");
}

#[tokio::test(start_paused = true)]
async fn tokens_that_one_limit_refuses_are_left_to_the_other_clients_of_an_address() {
    let quotas = quotas();
    let rules = QuotaRules {
        address: slowly(10),
        caller: slowly(4),
        ..QuotaRules::default()
    };
    let publish = |subject, events| {
        let allowance = request(&quotas, &rules, "192.0.2.1", &token(subject));
        allowance.take_events(events, Duration::ZERO)
    };
    publish("anne", 4).expect("a burst").spend();
    for _ in 0..9 {
        let busy = refused(
            publish("anne", 4),
            "limits.caller.published_events_per_second",
        );
        assert!(
            (3..=4).contains(&busy.retry_after_s().expect("a time")),
            "{busy}"
        );
    }
    publish("bob", 4).expect("a burst").spend();
    refused(
        publish("carl", 4),
        "limits.address.published_events_per_second",
    );
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_not_spent_are_given_back() {
    let quotas = quotas();
    let rules = QuotaRules {
        key: slowly(4),
        ..QuotaRules::default()
    };
    let key = Identity::ApiKey("doors".into());
    let publish = || request(&quotas, &rules, "", &key).take_events(4, Duration::ZERO);
    for _ in 0..9 {
        drop(publish().expect("tokens"));
    }
    publish().expect("tokens").spend();
    refused(publish(), "limits.key.published_events_per_second");
}

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_a_burst_is_too_large_for_ever() {
    let quotas = quotas();
    let rules = QuotaRules {
        address: slowly(4),
        ..QuotaRules::default()
    };
    let allowance = request(&quotas, &rules, "192.0.2.1", &Identity::Anonymous);
    let wait = Duration::from_secs(3600);
    let error = allowance.take_events(5, wait).expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(error.retry_after_s(), None);
    assert!(
        error.to_string().contains("published_events_burst"),
        "{error}"
    );
    allowance.take_events(4, wait).expect("nothing was taken");
}

#[test]
fn who_has_no_name_is_a_caller_by_its_address_and_one_of_this_machine_is_not_limited() {
    let quotas = quotas();
    let rules = QuotaRules {
        caller: at_most(1),
        ..QuotaRules::default()
    };
    let open = |address, identity| request(&quotas, &rules, address, &identity).take_subscription();
    let _anonymous = open("192.0.2.1", Identity::Anonymous).expect("a place");
    refused(open("192.0.2.1", Identity::Token(None)), "limits.caller");
    open("192.0.2.2", Identity::Token(None)).expect("another address");
    open("192.0.2.1", token("anne")).expect("a name of its own");
    open("192.0.2.1", Identity::ApiKey("anne".into())).expect("keys have no limit");
    assert!(request(&quotas, &rules, "", &Identity::Anonymous).is_unlimited());
    assert!(request(&quotas, &rules, "192.0.2.1", &Identity::Gateway).is_unlimited());
}

#[test]
fn keys_and_certificates_of_one_name_are_two_clients() {
    let quotas = quotas();
    let rules = QuotaRules {
        key: at_most(1),
        ..QuotaRules::default()
    };
    let open = |identity| request(&quotas, &rules, "", &identity).take_subscription();
    let _key = open(Identity::ApiKey("doors".into())).expect("a place");
    let _certificate = open(Identity::Certificate("doors".into())).expect("a place");
    refused(open(Identity::ApiKey("doors".into())), "limits.key");
    refused(open(Identity::Certificate("doors".into())), "limits.key");
}

#[test]
fn a_connection_has_as_many_subscriptions_as_it_may() {
    let (quotas, connection) = (quotas(), ConnectionCount::default());
    let rules = QuotaRules {
        subscriptions_per_connection: Some(number(2)),
        ..QuotaRules::default()
    };
    let client = |connection| Client {
        address: None,
        identity: &Identity::Anonymous,
        connection,
    };
    let open = || Allowance::new(&quotas, &rules, client(&connection)).take_subscription();
    let first = open().expect("a place");
    let _second = open().expect("a place");
    refused(open(), "limits.subscriptions_per_connection");
    let other = ConnectionCount::default();
    let elsewhere = Allowance::new(&quotas, &rules, client(&other));
    elsewhere.take_subscription().expect("another connection");
    drop(first);
    open().expect("the place of the one that has ended");
}

#[tokio::test(start_paused = true)]
async fn strangers_without_number_take_bounded_memory_and_leave_a_busy_client_its_empty_bucket() {
    let (quotas, anonymous) = (quotas(), Identity::Anonymous);
    let rules = QuotaRules {
        address: slowly(1000),
        ..QuotaRules::default()
    };
    let publish = |address: &str, events| {
        let allowance = request(&quotas, &rules, address, &anonymous);
        allowance.take_events(events, Duration::ZERO)
    };
    publish("192.0.2.1", 1000).expect("a burst").spend();

    for stranger in 0..300_000_u32 {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + stranger).to_string();
        publish(&address, 1).expect("a full bucket").spend();
        // It goes on trying meanwhile.
        if stranger % 10_000 == 0 {
            refused(publish("192.0.2.1", 1000), "limits.address");
        }
    }
    assert!(
        quotas.buckets() <= crate::limits::QUOTA_BUCKETS,
        "{}",
        quotas.buckets()
    );
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_was_replaced_holds_for_requests_from_now_on() {
    let (quotas, anonymous) = (quotas(), Identity::Anonymous);
    let rules = |limits| QuotaRules {
        address: limits,
        ..QuotaRules::default()
    };
    let publish = |limits, events| {
        let allowance = request(&quotas, &rules(limits), "192.0.2.1", &anonymous);
        allowance
            .take_events(events, Duration::ZERO)
            .map(EventTokens::spend)
    };
    publish(slowly(10), 10).expect("a burst");
    refused(publish(slowly(10), 1), "limits.address");
    publish(ClientLimits::default(), 1000).expect("no limit");
    publish(slowly(20), 10).expect("what the greater burst has more");
    refused(publish(slowly(20), 1), "limits.address");
}
