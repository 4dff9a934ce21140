//! The adapter of the common kit: JSON lines in, what the Rust client does out.
//!
//! Limits are quickened by ten and waits as the kit says; what is said is the time that was meant.
//! One process plays one scenario after another, as `reset` says.

mod publishing;
mod reading;

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use vidette::client::{Client, ClientClock, ClientOptions, TokenSource};

use reading::Reading;

/// One line for the kit.
pub(crate) fn say(line: &Value) {
    let mut out = std::io::stdout().lock();
    // A kit that has gone closes stdin too, and that is what ends this program.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// How much of a time is waited for.
fn factor(variable: &str, otherwise: f64) -> f64 {
    let named = std::env::var(variable).ok();
    named
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

/// One client, one subscription at a time, and what is being published.
struct Adapter {
    url: String,
    wait_factor: f64,
    client: Option<Client>,
    reading: Option<Reading>,
    publishing: JoinSet<()>,
    token_calls: Arc<AtomicU64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::var("VIDETTE_KIT_URL").unwrap_or_default();
    let mut adapter = Adapter::new(url, factor("VIDETTE_KIT_WAITS", 0.01));
    say_ready();

    let mut commands = commands();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => adapter.obey(&command),
                None => break,
            },
            item = reading::next(&mut adapter.reading) => {
                if let Some(reading) = &mut adapter.reading {
                    reading.take_in(item);
                }
            }
        }
    }
}

fn say_ready() {
    let version = env!("CARGO_PKG_VERSION");
    say(&json!({"say": "ready", "library": "vidette (Rust)", "version": version, "resets": true}));
}

/// The lines of stdin, until it ends.
fn commands() -> mpsc::Receiver<Value> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let command = serde_json::from_str(&line).unwrap_or_default();
            if sender.blocking_send(command).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Adapter {
    fn new(url: String, wait_factor: f64) -> Self {
        Adapter {
            url,
            wait_factor,
            client: None,
            reading: None,
            publishing: JoinSet::new(),
            token_calls: Arc::default(),
        }
    }

    fn obey(&mut self, command: &Value) {
        match (
            command["do"].as_str().unwrap_or_default(),
            &mut self.reading,
        ) {
            ("subscribe", _) => {
                let reader = self.client(command).read(reading::options(command));
                self.reading = Some(Reading::new(reader));
            }
            ("take", Some(reading)) => reading.want(command["n"].as_u64()),
            ("ack", Some(reading)) => reading.ask_ahead(),
            ("state", Some(reading)) => say(&reading.state()),
            ("state", None) => say(&json!({"say": "state", "state": "closed", "cursor": null})),
            ("publish", _) => {
                let client = self.client(command);
                let publishing = publishing::publish(client, command.clone());
                self.publishing.spawn(publishing);
            }
            ("close", _) => self.close(),
            ("reset", _) => {
                self.close();
                let url = command["url"].as_str().unwrap_or_default().to_owned();
                *self = Adapter::new(url, command["waits"].as_f64().unwrap_or(0.01));
                say_ready();
            }
            (unknown, _) => say(&json!({"say": "unsupported", "do": unknown})),
        }
    }

    /// Leaves no connection; the last state can still be asked for.
    fn close(&mut self) {
        self.publishing.abort_all();
        self.client = None;
        match &mut self.reading {
            Some(reading) => reading.close(),
            None => say(&json!({"say": "ended"})),
        }
    }

    fn client(&mut self, command: &Value) -> Client {
        if self.client.is_none() {
            self.client = Some(self.new_client(command));
        }
        self.client.clone().expect("it has just been made")
    }

    fn new_client(&self, command: &Value) -> Client {
        let clock = ClientClock::quickened(self.wait_factor, factor("VIDETTE_KIT_LIMITS", 0.1));
        let clock = clock.on_publish_wait(|wait| say_wait(wait, "retry"));
        let mut options = ClientOptions::new().clock(clock);
        if command["token"] == "counted" {
            options = options.token(counted_token(&self.token_calls));
        }

        let client = Client::with_options(&self.url, options).expect("the kit's address is right");
        match command["window_ms"].as_u64() {
            Some(window_ms) => client.retry_for(Duration::from_millis(window_ms)),
            None => client,
        }
    }
}

pub(crate) fn say_wait(wait: Duration, why: &str) {
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    say(&json!({"say": "wait", "ms": ms, "why": why}));
}

fn counted_token(calls: &Arc<AtomicU64>) -> TokenSource {
    let calls = calls.clone();
    TokenSource::function(move || {
        let n = calls.fetch_add(1, Ordering::Relaxed) + 1;
        say(&json!({"say": "token", "n": n}));
        async move { Ok::<_, std::io::Error>(format!("token-{n}")) }
    })
}
