//! When a page that has lost its stream comes back.

/// Seconds as microseconds, the clock of the simulation.
pub(crate) const SECOND_US: u64 = 1_000_000;

/// What a page does when its stream breaks off without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// The `EventSource` of Chromium: the same wait each time, or what `retry:` said last.
    EventSource,
    /// A wait of the client's own choice with as much chance in it as `closing` has.
    Jittered,
    /// The Rust client: at random up to a bound that doubles with each failure.
    Backoff,
}

/// Waits of clients; each is measured or read in the code.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_field_names)] // they name their unit
pub(crate) struct Waits {
    pub(crate) event_source_us: u64,
    pub(crate) retry_us: u64,
    pub(crate) retry_jitter_us: u64,
    pub(crate) backoff_us: u64,
    pub(crate) backoff_most_us: u64,
    /// Browsers are not equally far away.
    pub(crate) network_us: u64,
}

impl Waits {
    /// After an end without a word, which was the page's so many-th failure in a row.
    pub(crate) fn after_a_break(
        &self,
        client: Client,
        failures: u32,
        random: &mut fastrand::Rng,
    ) -> u64 {
        let network = random.u64(..=self.network_us);
        network
            + match client {
                Client::EventSource => self.event_source_us,
                Client::Jittered => self.retry_us + random.u64(..=self.retry_jitter_us),
                Client::Backoff => {
                    let doubled = self.backoff_us << failures.min(16);
                    random.u64(..=doubled.min(self.backoff_most_us))
                }
            }
    }

    /// After `closing`, whose `retry:` has chance in it.
    pub(crate) fn after_closing(&self, random: &mut fastrand::Rng) -> u64 {
        self.after_a_break(Client::Jittered, 0, random)
    }
}
