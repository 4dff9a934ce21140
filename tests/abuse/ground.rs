//! What an attack stands on: a gateway under attack, what is noted meanwhile, and the checks at
//! its end that are the same for all attacks.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use vidette::proto::{NewEvent, PublishRequest};

use crate::attacks::Attack;
use crate::clock::Clock;
use crate::common::gateway::{Gateway, PATIENCE, Setup};
use crate::common::grpc;
use crate::common::secure;
use crate::common::target::Target;
use crate::h1;
use crate::key_server::KeyServer;
use crate::live::{Live, Outcome};
use crate::memory::{self, MIB};

/// Lines of `[limits]` that every attacked gateway is given; a smaller memory budget belongs here.
const LIMITS: &str = "memory_budget = 268435456";
/// What strangers together may make a gateway of [`LIMITS`] hold, in bytes.
const BUDGET_BYTES: u64 = 256 * MIB;
/// What its caches, its log and the allocator may take beside that, in bytes.
const OTHER_BYTES: u64 = 128 * MIB;
/// How long memory may take to go back to the system once the attackers have left.
const RETURN_WAIT: Duration = Duration::from_secs(10);
/// How long the gateway may take to serve as before once the attackers have left.
const RECOVERY_WAIT: Duration = Duration::from_secs(20);
/// How long live events go on at least, however short the attack is.
const LIVE_AT_LEAST: Duration = Duration::from_secs(1);
/// Bytes of data that one batch of [`Ground::fill`] holds.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Events that one batch of [`Ground::fill`] holds.
const BATCH_EVENTS: usize = 5000;

/// An attack in progress.
pub struct Ground {
    pub gateway: Gateway,
    /// The gateway's wall clock, where the attack has one to set.
    pub clock: Option<Clock>,
    is_long: bool,
    is_secure: bool,
    /// Certificate and keys of a gateway that encrypts.
    _keys: TempDir,
    key_server: Option<KeyServer>,
    live: Option<Live>,
    live_outcome: Option<Outcome>,
    began: Instant,
    got: BTreeMap<String, usize>,
    wrong: Vec<String>,
    before_bytes: u64,
    peak_bytes: u64,
    /// Logs of gateways that a restart has replaced.
    past_logs: String,
}

/// A row of the table.
pub struct Row {
    pub line: &'static str,
    pub name: &'static str,
    pub is_secure: bool,
    pub before_bytes: u64,
    pub peak_bytes: u64,
    pub after_bytes: u64,
    pub live: Outcome,
    /// What the attacker got, and how often.
    pub got: BTreeMap<String, usize>,
    /// Why the attack succeeded; none when it was held.
    pub wrong: Vec<String>,
    pub took: Duration,
}

impl Ground {
    /// Starts the gateway, runs the attack, and judges what it did.
    pub async fn run(attack: &Attack, is_long: bool, is_secure: bool) -> Row {
        let began = Instant::now();
        let mut ground = Self::new(attack, is_long, is_secure);
        let patience = ground.seconds(90, 900);
        let attacking = AssertUnwindSafe((attack.run)(&mut ground)).catch_unwind();
        match timeout(patience, attacking).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => ground.wrong.push(message(&*panic)),
            Err(_) => ground.wrong("the attack did not end in time"),
        }
        let mut row = ground.end(attack).await;
        row.took = began.elapsed();
        row
    }

    fn new(attack: &Attack, is_long: bool, is_secure: bool) -> Self {
        let clock = attack.has_clock.then(Clock::new);
        let keys = TempDir::new().expect("a folder");
        let security = if is_secure {
            secure::settings(keys.path())
        } else {
            String::new()
        };
        let key_server = attack.has_key_server.then(KeyServer::start);
        let keys_of = key_server.as_ref().map(KeyServer::settings);
        let security = security + &keys_of.unwrap_or_default();
        let (limits, config) = (attack.limits, attack.config);
        let gateway = Gateway::start_on_a_port_of_its_own(Setup {
            config: format!("[limits]\n{LIMITS}\n{limits}\n{config}\n{security}"),
            env: clock.as_ref().map(Clock::env).unwrap_or_default(),
            ..Setup::default()
        });
        Ground {
            gateway,
            clock,
            is_long,
            is_secure,
            _keys: keys,
            key_server,
            live: None,
            live_outcome: None,
            began: Instant::now(),
            got: BTreeMap::new(),
            wrong: Vec::new(),
            before_bytes: 0,
            peak_bytes: 0,
            past_logs: String::new(),
        }
    }

    /// Where raw bytes are sent.
    pub fn target(&self) -> Target {
        Target {
            address: self.gateway.address(),
            is_secure: self.is_secure,
        }
    }

    /// How often the provider of keys was asked for them.
    pub fn key_fetches(&self) -> usize {
        self.key_server.as_ref().map_or(0, KeyServer::asked)
    }

    /// A number of the short form, or of the long one.
    pub fn count(&self, short: usize, long: usize) -> usize {
        if self.is_long { long } else { short }
    }

    /// A time of the short form, or of the long one, in seconds.
    pub fn seconds(&self, short: u64, long: u64) -> Duration {
        Duration::from_secs(if self.is_long { long } else { short })
    }

    /// Everything is prepared: live events begin, and memory is noted.
    pub fn begin(&mut self) {
        self.live = Some(Live::start(self.gateway.url()));
        self.began = Instant::now();
        memory::reset_peak(self.gateway.pid());
        self.before_bytes = memory::resident_bytes(self.gateway.pid());
    }

    /// The attacker got this.
    pub fn got(&mut self, what: impl Into<String>) {
        self.got_many(what, 1);
    }

    /// The attacker got this so often.
    pub fn got_many(&mut self, what: impl Into<String>, count: usize) {
        *self.got.entry(what.into()).or_default() += count;
    }

    /// How often the attacker got this.
    pub fn count_of(&self, what: &str) -> usize {
        self.got.get(what).copied().unwrap_or(0)
    }

    /// The attack succeeded, and why.
    pub fn wrong(&mut self, why: impl Into<String>) {
        self.wrong.push(why.into());
    }

    /// The attack succeeded unless this holds.
    pub fn check(&mut self, holds: bool, otherwise: impl Into<String>) {
        if !holds {
            self.wrong(otherwise);
        }
    }

    /// The attacker may have got only what begins with one of these.
    pub fn check_got_only(&mut self, allowed: &[&str]) {
        let others: Vec<String> = self
            .got
            .iter()
            .filter(|(what, _)| !allowed.iter().any(|a| what.starts_with(a)))
            .map(|(what, count)| format!("{count} × {what}"))
            .collect();
        self.check(
            others.is_empty(),
            format!("got {} instead of {}", others.join(", "), allowed.join("/")),
        );
    }

    /// Waits until something holds, or the time is up: then the attack has succeeded.
    pub async fn check_soon(
        &mut self,
        within: Duration,
        otherwise: &str,
        mut holds: impl AsyncFnMut(&Gateway) -> bool,
    ) {
        let until = Instant::now() + within;
        while !holds(&self.gateway).await {
            if Instant::now() >= until {
                return self.wrong(otherwise);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Publishes events over gRPC, in batches, one after the other.
    pub async fn fill(&self, events: impl Iterator<Item = NewEvent>) {
        let mut client = grpc::client(&self.gateway.url()).await;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for event in events {
            bytes += event.data.len();
            batch.push(event);
            if bytes >= BATCH_BYTES || batch.len() >= BATCH_EVENTS {
                let events = std::mem::take(&mut batch);
                bytes = 0;
                client
                    .publish(PublishRequest { events })
                    .await
                    .expect("published");
            }
        }
        if !batch.is_empty() {
            client
                .publish(PublishRequest { events: batch })
                .await
                .expect("published");
        }
    }

    /// Starts the gateway again, which has ended; false when it does not start.
    pub fn start_again(&mut self) -> bool {
        self.past_logs += &self.gateway.log();
        let starting = std::panic::catch_unwind(AssertUnwindSafe(|| self.gateway.start_again()));
        let Err(panic) = starting else { return true };
        let said = message(&*panic);
        self.wrong(said.lines().last().unwrap_or_default().to_owned());
        false
    }

    /// Notes the peak of a gateway that is about to end.
    pub fn note_peak(&mut self) {
        let peak = memory::peak_bytes(self.gateway.pid());
        self.peak_bytes = self.peak_bytes.max(peak);
    }

    /// Ends the live events, which an attack does before it restarts the gateway.
    pub async fn end_live(&mut self) {
        let Some(live) = self.live.take() else { return };
        sleep_until(self.began + LIVE_AT_LEAST).await;
        let ending = tokio::task::spawn_blocking(|| live.end());
        match ending.await.expect("a thread") {
            Ok(outcome) => self.live_outcome = Some(outcome),
            Err(why) => self.wrong(format!("live: {why}")),
        }
    }

    /// The checks that are the same for all attacks.
    async fn end(mut self, attack: &Attack) -> Row {
        self.end_live().await;
        let live = self.live_outcome.take().unwrap_or_default();
        self.check_live(&live, attack);
        self.note_peak();
        let after_bytes = self.memory_afterwards().await;
        self.check_memory(after_bytes);
        self.check_serves().await;
        let has_panicked = (self.past_logs.clone() + &self.gateway.log())
            .matches("panicked")
            .count();
        self.check(
            has_panicked == 0,
            format!("the gateway panicked {has_panicked} times"),
        );
        Row {
            line: attack.line,
            name: attack.name,
            is_secure: self.is_secure,
            before_bytes: self.before_bytes,
            peak_bytes: self.peak_bytes,
            after_bytes,
            live,
            got: self.got,
            wrong: self.wrong,
            took: Duration::ZERO,
        }
    }

    fn check_live(&mut self, live: &Outcome, attack: &Attack) {
        let max = live.latency(1000);
        let lost = live.lost.len();
        self.check(live.acknowledged > 0, "no live event was acknowledged");
        self.check(lost == 0, format!("{lost} live events lost"));
        let repeated = live.repeated;
        self.check(repeated == 0, format!("{repeated} live events repeated"));
        let reordered = live.reordered;
        self.check(reordered == 0, format!("{reordered} live events reordered"));
        self.check(
            live.cuts == 0 || attack.may_cut_streams,
            format!("the live stream ended {} times", live.cuts),
        );
        let hang = attack.live_hang;
        self.check(
            max < hang,
            format!("a live event took {max:.1?}, the bound is {hang:?}"),
        );
    }

    /// Resident memory once it has gone back as far as it does soon.
    async fn memory_afterwards(&self) -> u64 {
        let until = Instant::now() + RETURN_WAIT;
        loop {
            let resident = memory::resident_bytes(self.gateway.pid());
            if resident <= self.bound_bytes() || Instant::now() >= until {
                return resident;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn bound_bytes(&self) -> u64 {
        self.before_bytes + BUDGET_BYTES + OTHER_BYTES
    }

    fn check_memory(&mut self, after_bytes: u64) {
        let bound = self.bound_bytes();
        for (when, bytes) in [("held", self.peak_bytes), ("kept", after_bytes)] {
            self.check(
                bytes <= bound,
                format!(
                    "{when} {} MiB, the bound is {} MiB",
                    bytes / MIB,
                    bound / MIB
                ),
            );
        }
    }

    /// Is the gateway ready, and does it take an event and show it?
    async fn check_serves(&mut self) {
        let address = self.target();
        let serves = async |_: &Gateway| {
            for request in [
                h1::get(address, "/healthz"),
                h1::get(address, "/readyz"),
                h1::post_event(address, "afterwards"),
                h1::get(address, "/v1/poll?topic=afterwards&after=earliest&wait=0"),
            ] {
                let answer = h1::ask(address, &request, PATIENCE).await;
                if answer.label() != "200" {
                    return false;
                }
            }
            true
        };
        self.check_soon(RECOVERY_WAIT, "it does not serve afterwards", serves)
            .await;
    }
}

/// The text of a panic.
pub fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "it panicked".to_owned())
}
