//! Clients of a gateway: curl, grpcurl and Python's grpcio, from an address and with credentials.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::common::gateway::{Gateway, Setup};
use crate::common::token::{self, Signer};
use crate::tools::{Output, Running, find, root, run};

/// Somebody who is known by an address of this machine and by a header.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    address: &'static str,
    authorization: String,
}

impl Who {
    pub(crate) fn at(address: &'static str) -> Self {
        Who {
            address,
            authorization: String::new(),
        }
    }

    fn bearer(credential: &str) -> Self {
        Who {
            authorization: format!("Bearer {credential}"),
            ..Who::at("127.0.0.1")
        }
    }
}

/// Two clients of one kind, and where the limits of that kind are.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The section of the configuration.
    pub(crate) section: &'static str,
    /// What the label `reason` begins with.
    pub(crate) reason: &'static str,
    pub(crate) one: Who,
    pub(crate) other: Who,
    /// What their gateway has to know of them.
    auth: String,
    /// With the files of that.
    folder: TempDir,
}

const SECRET: &str = "a secret that is long enough for HS256";
/// The tests themselves look at metrics, and read what was published.
const ANONYMOUS: &str =
    "[auth]\nanonymous = { subscribe = [\">\", \"vidette.admin\"], publish = [] }\n";

impl Pair {
    fn new(section: &'static str, one: Who, other: Who, auth: String) -> Self {
        let (_, reason) = section.split_once('.').expect("a section of [limits]");
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("secret"), SECRET).expect("a file");
        Pair {
            section,
            reason,
            one,
            other,
            auth,
            folder,
        }
    }

    /// grpcurl and grpcio cannot choose the address that they come from: the one is 127.0.0.1.
    fn of_addresses(section: &'static str) -> Self {
        let (one, other) = (Who::at("127.0.0.1"), Who::at("127.0.0.2"));
        Pair::new(section, one, other, String::new())
    }

    /// From one address, as all that follow.
    fn of_subjects() -> Self {
        let token = |subject| {
            let mut claims = token::rights(&[">"], &[">"]);
            claims["sub"] = serde_json::Value::from(subject);
            Who::bearer(&Signer::of_secret(SECRET).token(&claims))
        };
        let auth = "[[auth.jwt]]\nalgorithms = [\"HS256\"]\nsecret_file = \"FOLDER/secret\"\n";
        let auth = format!("{ANONYMOUS}{auth}");
        Pair::new("limits.caller", token("anne"), token("bob"), auth)
    }

    fn of_keys() -> Self {
        let section = |name: &str| {
            let digest = Sha256::digest(name);
            let digest = digest
                .iter()
                .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            format!(
                "[[auth.api_key]]\nname = \"{name}\"\nsha256 = \"{digest}\"\n\
                 publish = [\">\"]\nsubscribe = [\">\"]\n"
            )
        };
        let auth = [ANONYMOUS, &section("doors"), &section("lifts")].concat();
        let (doors, lifts) = (Who::bearer("doors"), Who::bearer("lifts"));
        Pair::new("limits.key", doors, lifts, auth)
    }

    /// A gateway that knows them, with these settings for their kind.
    pub(crate) fn gateway(&self, settings: &str) -> Gateway {
        let folder = self.folder.path().display().to_string();
        let auth = self.auth.replace("FOLDER", &folder);
        gateway(self.section, &format!("{settings}\n{auth}"))
    }
}

/// A pair of each kind. Whoever has no name is a caller by its address.
pub(crate) fn pairs() -> [Pair; 4] {
    [
        Pair::of_addresses("limits.address"),
        Pair::of_addresses("limits.caller"),
        Pair::of_subjects(),
        Pair::of_keys(),
    ]
}

/// Two addresses.
pub(crate) fn addresses() -> Pair {
    Pair::of_addresses("limits.address")
}

/// A gateway with these settings in a section.
pub(crate) fn gateway(section: &str, settings: &str) -> Gateway {
    Gateway::start_with(Setup {
        engine: "memory",
        config: format!("[{section}]\n{settings}\n"),
        ..Setup::default()
    })
}

fn python() -> PathBuf {
    let python = root().join(".tools/venv/bin/python");
    assert!(
        python.is_file(),
        "Python's grpcio is missing; run scripts/setup-tests.sh"
    );
    python
}

/// The folder of the stubs, generated from `proto/` once.
fn stubs() -> &'static str {
    static STUBS: OnceLock<String> = OnceLock::new();
    STUBS.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("python-stubs-of-quotas");
        std::fs::create_dir_all(&folder).expect("a folder");
        let (proto, out) = (root().join("proto"), folder.display().to_string());
        let mut command = Command::new(python());
        command.args(["-m", "grpc_tools.protoc", "-I"]).arg(&proto);
        command.args([
            &format!("--python_out={out}"),
            &format!("--grpc_python_out={out}"),
        ]);
        let made = command.arg(proto.join("vidette/v1/vidette.proto")).output();
        assert!(made.expect("protoc runs").status.success());
        out
    })
}

/// A command line that can be run to its end, or left running.
pub(crate) struct Call {
    program: PathBuf,
    arguments: Vec<String>,
}

impl Call {
    fn new(program: PathBuf, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        Call {
            program,
            arguments: arguments.collect(),
        }
    }

    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        let more = arguments.iter().map(|&argument| argument.to_owned());
        self.arguments.extend(more);
        self
    }

    pub(crate) async fn run(&self) -> Output {
        run(&self.program, &self.as_str()).await
    }

    pub(crate) fn start(&self) -> Running {
        Running::start(&self.program, &self.as_str())
    }

    fn as_str(&self) -> Vec<&str> {
        self.arguments.iter().map(String::as_str).collect()
    }
}

/// curl, which shows the head of the answer and its body.
pub(crate) fn curl(gateway: &Gateway, who: &Who, path: &str) -> Call {
    let url = format!("{}{path}", gateway.url());
    let call = Call::new(
        find("curl", "bin"),
        &["-sS", "-i", "-N", "--interface", who.address, &url],
    );
    if who.authorization.is_empty() {
        return call;
    }
    let header = format!("authorization: {}", who.authorization);
    call.with(&["-H", &header])
}

/// grpcurl, with flags that say who calls.
pub(crate) fn grpcurl<F: AsRef<str>>(
    gateway: &Gateway,
    known: &[F],
    method: &str,
    messages: &str,
) -> Call {
    let address = gateway.address().to_string();
    Call::new(find("grpcurl", "bin"), &["-format-error"])
        .with(&known.iter().map(AsRef::as_ref).collect::<Vec<_>>())
        .with(&["-d", messages, &address])
        .with(&[&format!("vidette.v1.EventBus/{method}")])
}

impl Who {
    /// For [`grpcurl`].
    pub(crate) fn flags(&self) -> Vec<String> {
        let plain = ["-plaintext".to_owned()].into_iter();
        let header = format!("authorization: {}", self.authorization);
        let known = (!self.authorization.is_empty()).then(|| ["-H".to_owned(), header]);
        plain.chain(known.into_iter().flatten()).collect()
    }
}

pub(crate) fn grpcio(gateway: &Gateway, who: &Who, call: &[&str]) -> Call {
    let script = root().join("tests/quotas/python/client.py");
    let (script, address) = (script.display().to_string(), gateway.address().to_string());
    let arguments = ["-u", &script, stubs(), &address, &who.authorization];
    Call::new(python(), &arguments).with(call)
}

/// What a client was told that has reached a limit of its own.
#[derive(Debug)]
pub(crate) struct Busy {
    pub(crate) detail: String,
    /// It says when to come back.
    pub(crate) is_passing: bool,
}

/// The status of an answer that curl shows with its head.
pub(crate) fn status(output: &Output) -> u16 {
    let mut words = output.stdout.split(' ').skip(1);
    let status = words.next().and_then(|word| word.parse().ok());
    status.unwrap_or_else(|| panic!("no head: {output:?}"))
}

/// That curl was refused with this status.
pub(crate) fn refused(output: &Output, expected: u16) -> Busy {
    assert_eq!(status(output), expected, "{output:?}");
    Busy {
        is_passing: output.stdout.to_lowercase().contains("\nretry-after: "),
        detail: output.stdout.clone(),
    }
}

/// That grpcurl was told that something is exhausted.
pub(crate) fn exhausted(output: &Output) -> Busy {
    assert_eq!(output.code(), 64 + 8, "{output:?}");
    Busy {
        is_passing: output.stderr.contains("RetryInfo"),
        detail: output.stderr.clone(),
    }
}

/// The same of grpcio, in this line of what it has said.
pub(crate) fn exhausted_line(line: &str) -> Busy {
    let rest = line.strip_prefix("RESOURCE_EXHAUSTED ");
    let rest = rest.unwrap_or_else(|| panic!("not exhausted: {line}"));
    Busy {
        is_passing: rest.starts_with("later "),
        detail: rest.to_owned(),
    }
}
