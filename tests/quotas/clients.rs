//! Clients of a gateway: curl, grpcurl and Python's grpcio, from an address and with credentials.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::common::gateway::{Gateway, Setup};
use crate::tools::{Output, Running, find, root, run};

/// Somebody who is known by an address of this machine and by a header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who {
    pub(crate) address: &'static str,
    pub(crate) authorization: &'static str,
}

/// Two clients of one kind, and the section of their limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) section: &'static str,
    /// The label `reason` begins so.
    pub(crate) reason: &'static str,
    pub(crate) one: Who,
    pub(crate) other: Who,
}

const fn anonymous(address: &'static str) -> Who {
    Who {
        address,
        authorization: "",
    }
}

/// grpcurl and grpcio cannot choose the address that they come from: the one is 127.0.0.1.
pub(crate) const PAIRS: [Pair; 2] = [
    Pair {
        section: "limits.address",
        reason: "address",
        one: anonymous("127.0.0.1"),
        other: anonymous("127.0.0.2"),
    },
    Pair {
        section: "limits.caller",
        reason: "caller",
        one: anonymous("127.0.0.1"),
        other: anonymous("127.0.0.2"),
    },
];

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
pub(crate) fn curl(gateway: &Gateway, who: Who, path: &str) -> Call {
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

pub(crate) fn grpcurl(gateway: &Gateway, who: Who, method: &str, messages: &str) -> Call {
    let header = format!("authorization: {}", who.authorization);
    let credentials = ["-H", &header];
    let credentials = match who.authorization {
        "" => &[],
        _ => &credentials[..],
    };
    let address = gateway.address().to_string();
    Call::new(find("grpcurl", "bin"), &["-plaintext", "-format-error"])
        .with(credentials)
        .with(&["-d", messages, &address])
        .with(&[&format!("vidette.v1.EventBus/{method}")])
}

pub(crate) fn grpcio(gateway: &Gateway, who: Who, call: &[&str]) -> Call {
    let script = root().join("tests/quotas/python/client.py");
    let (script, address) = (script.display().to_string(), gateway.address().to_string());
    let arguments = ["-u", &script, stubs(), &address, who.authorization];
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
