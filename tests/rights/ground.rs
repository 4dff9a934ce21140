//! A gateway that knows tokens and keeps a list of the revoked, and clients that show a token.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::gateway::{Gateway, Setup};
use crate::common::token::{Signer, in_seconds};
use crate::tools::{Output, Running, find, root, run};

const SECRET: &str = "a secret that is long enough to be one, 0123456789";

pub struct Ground {
    pub gateway: Gateway,
    folder: TempDir,
}

/// How a credential ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Expiry,
    Revocation,
}

pub const ENDS: [End; 2] = [End::Expiry, End::Revocation];

impl Ground {
    /// A gateway where everybody may read `public.>`.
    pub fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("jwt.key"), SECRET).expect("a file");
        std::fs::write(path("revoked.txt"), "").expect("a file");
        let config = format!(
            "[limits]\nwrite_timeout = \"5m\"\n\
             [legacy]\ntopic = \"*.1\"\n\
             [auth]\nanonymous = {{ subscribe = [\"public.>\"] }}\nrevoked_file = {:?}\n\
             [[auth.jwt]]\nalgorithms = [\"HS256\"]\nsecret_file = {:?}\n",
            path("revoked.txt").display().to_string(),
            path("jwt.key").display().to_string(),
        );
        let gateway = Gateway::start_with(Setup {
            engine: "memory",
            config,
            ..Setup::default()
        });
        Ground { gateway, folder }
    }

    /// From now on this token is good no more.
    pub fn revoke(&self, id: &str) {
        let list = self.folder.path().join("revoked.txt");
        std::fs::write(list, format!("{id}\n")).expect("a file");
    }

    /// The list of the revoked.
    pub fn revoked(&self) -> String {
        let list = self.folder.path().join("revoked.txt");
        std::fs::read_to_string(list).expect("a file")
    }

    /// Has a token with the id `short` end, which [`short_token`] has made for this.
    pub fn bring_about(&self, end: End) {
        match end {
            End::Expiry => {}
            End::Revocation => self.revoke("short"),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway.url())
    }

    /// Publishes one event as somebody who may do everything.
    pub async fn publish(&self, topic: &str, data: &Value) -> Value {
        let answer = reqwest::Client::new()
            .post(self.url("/v1/events"))
            .bearer_auth(master())
            .json(&json!({ "topic": topic, "data": data }))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.json().await.expect("JSON")
    }

    /// The status of a GET with this token.
    pub async fn status(&self, path: &str, token: &str) -> u16 {
        let request = reqwest::Client::new().get(self.url(path));
        let answer = request.bearer_auth(token).send().await.expect("an answer");
        answer.status().as_u16()
    }

    async fn bus(&self) -> Value {
        let request = reqwest::Client::new().get(self.url("/v1/bus"));
        let answer = request.bearer_auth(master()).send().await;
        answer.expect("an answer").json().await.expect("JSON")
    }

    pub async fn last_vid(&self) -> u64 {
        self.bus().await["last"].as_u64().expect("a vid")
    }

    /// Waits until so many subscriptions are open.
    pub async fn until_subscribed(&self, subscribers: u64) {
        let are_open = || async { self.bus().await["subscribers"] == subscribers };
        self.gateway.until("all have subscribed", are_open).await;
    }

    /// curl, which prints what it gets at once.
    pub fn curl(&self, path: &str, token: &str, more: &[&str]) -> Running {
        let (url, header) = (self.url(path), bearer(token));
        let args = [&["-sN", "-H", &header], more, &[&url]].concat();
        Running::start(find("curl", "bin"), &args)
    }

    /// grpcurl, with a message on its command line or with `@` from its standard input.
    pub fn grpcurl(&self, method: &str, token: &str, message: &str) -> Running {
        let args = self.grpcurl_args(method, Some(token), message);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Running::start(find("grpcurl", "bin"), &args)
    }

    /// The same to its end, also without a token.
    pub async fn call(&self, method: &str, token: Option<&str>, message: &Value) -> Output {
        let args = self.grpcurl_args(method, token, &message.to_string());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run(find("grpcurl", "bin"), &args).await
    }

    fn grpcurl_args(&self, method: &str, token: Option<&str>, message: &str) -> Vec<String> {
        let header = token.map(|token| ["-H".to_owned(), bearer(token)]);
        let proto = root().join("proto").display().to_string();
        // The messages by their file: reflection would be calls of its own.
        let fixed = [
            "-plaintext",
            "-format-error",
            "-import-path",
            &proto,
            "-proto",
        ];
        let mut args: Vec<String> = fixed.map(str::to_owned).into();
        args.push("vidette/v1/vidette.proto".to_owned());
        args.extend(header.into_iter().flatten());
        args.extend(["-d".to_owned(), message.to_owned()]);
        args.push(self.gateway.address().to_string());
        args.push(format!("vidette.v1.EventBus/{method}"));
        args
    }

    /// A script of tests/rights/python, with the stubs, the address and a token.
    pub fn python(&self, script: &str, token: &str) -> Running {
        let script = root().join("tests/rights/python").join(script);
        let script = script.display().to_string();
        let address = self.gateway.address().to_string();
        Running::start(python(), &["-u", &script, stubs(), &address, token])
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// A token that is good for so many seconds.
pub fn token(id: &str, for_s: i64, publish: &[&str], subscribe: &[&str]) -> String {
    Signer::of_secret(SECRET).token(&json!({
        "jti": id,
        "exp": in_seconds(for_s),
        "vidette": { "publish": publish, "subscribe": subscribe },
    }))
}

/// A token for what this reads and publishes, which ends soon or when it is revoked.
pub fn short_token(end: End, topics: &[&str]) -> String {
    let for_s = match end {
        // Long enough for a client to start on a busy machine.
        End::Expiry => 8,
        End::Revocation => 3600,
    };
    token("short", for_s, topics, topics)
}

/// A token for everything.
pub fn master() -> String {
    token("master", 3600, &[">"], &[">"])
}

fn python() -> PathBuf {
    let python = root().join(".tools/venv/bin/python");
    assert!(
        python.is_file(),
        "grpcio is missing; run scripts/setup-tests.sh"
    );
    python
}

/// The folder of the stubs, generated from `proto/` once.
fn stubs() -> &'static str {
    static STUBS: OnceLock<String> = OnceLock::new();
    STUBS.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("python-stubs-rights");
        std::fs::create_dir_all(&folder).expect("a folder");
        let (proto, out) = (root().join("proto"), folder.display().to_string());
        let outs = [
            format!("--python_out={out}"),
            format!("--grpc_python_out={out}"),
        ];
        let mut command = Command::new(python());
        command.args(["-m", "grpc_tools.protoc", "-I"]).arg(&proto);
        command
            .args(outs)
            .arg(proto.join("vidette/v1/vidette.proto"));
        let made = command.output().expect("protoc runs");
        assert!(made.status.success(), "{made:?}");
        out
    })
}
