//! A bucket beside a plain account of tokens.

use proptest::prelude::*;

use super::*;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("not zero")
}

fn rate(events_per_second: u32, burst_events: u32) -> PublishRate {
    PublishRate {
        events_per_second: number(events_per_second),
        burst_events: number(burst_events),
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Takes tokens at this time, in milliseconds, without waiting.
fn takes(bucket: &Bucket, rate: PublishRate, events: u32, now_ms: u64) -> bool {
    let taken = bucket.take(rate, number(events), ms(now_ms), Duration::ZERO);
    taken.is_ok()
}

#[test]
fn a_burst_passes_at_once_and_then_the_rate() {
    let (bucket, rate) = (Bucket::default(), rate(10, 5));
    assert!(takes(&bucket, rate, 3, 0) && takes(&bucket, rate, 2, 0));
    assert!(!takes(&bucket, rate, 1, 0) && !takes(&bucket, rate, 1, 99));
    assert!(takes(&bucket, rate, 1, 100) && !takes(&bucket, rate, 1, 100));
    assert!(!takes(&bucket, rate, 5, 599), "all or nothing");
    assert!(
        takes(&bucket, rate, 5, 600),
        "a whole burst, once it is full"
    );
    assert!(takes(&bucket, rate, 5, 60_000) && !takes(&bucket, rate, 1, 60_000));
}

#[test]
fn who_is_refused_learns_when_the_tokens_are_there() {
    let (bucket, rate) = (Bucket::default(), rate(10, 5));
    assert!(takes(&bucket, rate, 5, 0));
    let refused = bucket.take(rate, number(4), ms(50), Duration::ZERO);
    assert_eq!(refused, Err(ms(350)));
    assert!(takes(&bucket, rate, 4, 400));
}

#[test]
fn those_who_wait_have_their_turns_in_their_order() {
    let (bucket, rate) = (Bucket::default(), rate(10, 5));
    let wait = |events| bucket.take(rate, number(events), ms(0), ms(600));
    assert_eq!(wait(5), Ok(ms(0)));
    assert_eq!((wait(2), wait(4)), (Ok(ms(200)), Ok(ms(600))));
    assert_eq!(wait(1), Err(ms(700)), "longer than it would wait");
    assert!(
        !takes(&bucket, rate, 1, 650),
        "those who wait have taken theirs"
    );
    assert!(takes(&bucket, rate, 1, 700));
}

#[test]
fn what_is_given_back_can_be_taken_again_and_is_never_more_than_a_burst() {
    let (bucket, rate) = (Bucket::default(), rate(10, 5));
    assert!(takes(&bucket, rate, 5, 0));
    bucket.give_back(rate, number(5));
    assert!(takes(&bucket, rate, 5, 0) && !takes(&bucket, rate, 1, 0));
    bucket.give_back(rate, number(5));
    bucket.give_back(rate, number(5));
    assert!(takes(&bucket, rate, 5, 0) && !takes(&bucket, rate, 1, 0));
}

#[test]
fn a_new_rate_holds_at_once_and_the_old_one_is_not_waited_for() {
    let bucket = Bucket::default();
    assert!(takes(&bucket, rate(1, 100_000), 100_000, 0));
    assert!(!takes(&bucket, rate(1, 100_000), 1, 0));
    // A day's tokens were taken; what is waited for is bounded by the new rate.
    let rate = rate(10, 5);
    let (most, nearly) = (
        limits::PUBLISH_RATE_WAIT + ms(100),
        limits::PUBLISH_RATE_WAIT + ms(99),
    );
    let take = |now| bucket.take(rate, number(1), now, Duration::ZERO);
    assert_eq!(take(ms(0)), Err(most));
    assert_eq!(take(nearly), Err(ms(1)), "asking does not put it off");
    assert_eq!(take(most), Ok(ms(0)));
}

/// What a bucket is for: so many tokens, more with time, at most a burst.
struct PlainBucket {
    tokens: f64,
    last_ms: u64,
}

impl PlainBucket {
    fn takes(&mut self, rate: PublishRate, events: u32, now_ms: u64) -> bool {
        let passed_s = f64::from(u32::try_from(now_ms - self.last_ms).expect("short")) / 1000.0;
        let more = passed_s * f64::from(rate.events_per_second.get());
        let burst = f64::from(rate.burst_events.get());
        self.tokens = (self.tokens + more).min(burst);
        self.last_ms = now_ms;
        // Sums of fractions are not exact.
        let has_them = self.tokens + 1e-6 >= f64::from(events);
        if has_them {
            self.tokens -= f64::from(events);
        }
        has_them
    }
}

proptest! {
    #[test]
    fn a_bucket_lets_through_what_a_plain_one_does(
        // Rates that a millisecond has a whole part of, so that both agree to the token.
        events_per_second in prop::sample::select(vec![1u32, 2, 10, 100, 1000]),
        burst in 1u32..50,
        steps in prop::collection::vec((0u64..3000, 1u32..50), 1..200),
    ) {
        let rate = rate(events_per_second, burst);
        let bucket = Bucket::default();
        let mut plain = PlainBucket { tokens: f64::from(burst), last_ms: 0 };
        let mut now_ms = 0;
        for (pause_ms, events) in steps {
            now_ms += pause_ms;
            let events = events.min(burst);
            prop_assert_eq!(
                takes(&bucket, rate, events, now_ms),
                plain.takes(rate, events, now_ms),
                "{} at {} ms", events, now_ms
            );
        }
    }
}
