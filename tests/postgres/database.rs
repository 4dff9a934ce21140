//! A PostgreSQL server of the test's own, in a folder of its own, on a Unix socket.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User, chown};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::common::gateway::PATIENCE;

/// A running server; it is ended when this is dropped.
pub(crate) struct Database {
    folder: TempDir,
    server: Child,
    flags: Vec<String>,
}

/// Where the newest installed server has its programs.
fn programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let version = |path: &PathBuf| {
        path.file_name()
            .and_then(|v| v.to_str()?.parse::<u32>().ok())
    };
    let newest = installed
        .map(|entry| entry.path())
        .filter(|p| version(p).is_some())
        .max_by_key(version);
    newest
        .expect("PostgreSQL is missing; run scripts/setup-tests.sh")
        .join("bin")
}

/// A program of the server's, which refuses to be run by root. It is ended when the test's thread
/// is.
fn program(name: &str) -> Command {
    let path = programs().join(name);
    let mut command = Command::new("setpriv");
    if Uid::effective().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command
        .args(["--pdeathsig", "QUIT", "--"])
        .arg(path)
        .current_dir("/");
    command
}

impl Database {
    /// With an empty database `postgres` and a superuser `postgres`.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with settings as `log_statement=all`.
    pub(crate) async fn start_with(settings: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
            .expect("a folder");
        if Uid::effective().is_root() {
            let owner = User::from_name("postgres")
                .expect("users")
                .expect("a user postgres");
            chown(folder.path(), Some(owner.uid), Some(owner.gid)).expect("a folder");
        }
        let mut initdb = program("initdb");
        initdb.args([
            "--username=postgres",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
            "-D",
        ]);
        succeed(
            &initdb
                .arg(folder.path().join("data"))
                .output()
                .expect("initdb"),
        );
        let flags: Vec<_> = settings
            .iter()
            .flat_map(|s| ["-c".to_owned(), (*s).to_owned()])
            .collect();
        let database = Database {
            server: serve(folder.path(), &flags),
            folder,
            flags,
        };
        database.ready().await;
        database
    }

    /// What `url` of the configuration is.
    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://postgres@/postgres?host={}",
            self.folder.path().display()
        )
    }

    /// A connection to it.
    pub(crate) async fn client(&self) -> Client {
        self.try_client().await.expect("a connection")
    }

    pub(crate) async fn try_client(&self) -> Result<Client, tokio_postgres::Error> {
        connect(&self.url()).await
    }

    async fn ready(&self) {
        let begun = Instant::now();
        while let Err(error) = self.try_client().await {
            assert!(
                begun.elapsed() < PATIENCE,
                "the server does not start: {error:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Applies SQL as `psql` does, and gives what it says.
    pub(crate) fn psql(&self, sql: &str) -> String {
        let folder = self.folder.path().display().to_string();
        let args = [
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            &folder,
            "-U",
            "postgres",
            "postgres",
        ];
        let mut psql = Command::new(programs().join("psql"));
        psql.args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut psql = psql.spawn().expect("psql");
        std::io::Write::write_all(&mut psql.stdin.take().expect("a pipe"), sql.as_bytes())
            .expect("psql listens");
        succeed(&psql.wait_with_output().expect("psql ends"))
    }

    /// As in a crash: what was not written stays unwritten.
    pub(crate) fn crash(&mut self) {
        self.end(Signal::SIGQUIT);
    }

    /// An orderly end.
    pub(crate) fn stop(&mut self) {
        self.end(Signal::SIGINT);
    }

    fn end(&mut self, signal: Signal) {
        self.signal(signal);
        self.server.wait().expect("the server ends");
    }

    /// Sends a signal to the server.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(
            Pid::from_raw(i32::try_from(self.server.id()).expect("a pid")),
            signal,
        )
        .expect("the server is there");
    }

    /// Takes it for a standby at its next start.
    pub(crate) fn make_standby(&self) {
        std::fs::write(self.folder.path().join("data/standby.signal"), "").expect("a file");
    }

    /// Starts it again; it has to have ended.
    pub(crate) async fn start_again(&mut self) {
        self.server = serve(self.folder.path(), &self.flags);
        self.ready().await;
    }
}

/// A connection, which a task of its own carries.
pub(crate) async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

impl Drop for Database {
    fn drop(&mut self) {
        if matches!(self.server.try_wait(), Ok(None)) {
            self.end(Signal::SIGQUIT);
        }
    }
}

fn serve(folder: &Path, flags: &[String]) -> Child {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .expect("a log");
    let mut server = program("postgres");
    server
        .arg("-D")
        .arg(folder.join("data"))
        .arg("-k")
        .arg(folder)
        .args(["-c", "listen_addresses="]);
    server
        .args(["-c", "max_connections=60"])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    server.spawn().expect("the server starts")
}

fn succeed(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
