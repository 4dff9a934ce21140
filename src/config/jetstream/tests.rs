//! `[jetstream]`, and the flags that take its place.

use std::path::Path;
use std::time::Duration;

use nkeys::KeyPair;
use tempfile::TempDir;

use crate::config::{Config, JetStreamOverrides, Overrides};
use crate::engine::{EngineKind, JetStreamOptions, NatsCredentials};

fn parse(text: &str, jetstream: JetStreamOverrides) -> Result<JetStreamOptions, String> {
    let overrides = Overrides {
        engine: Some("jetstream".into()),
        jetstream,
        ..Overrides::default()
    };
    match Config::parse(text, overrides).map(|config| config.engine) {
        Ok(EngineKind::JetStream(options)) => Ok(*options),
        Ok(other) => panic!("{other:?}"),
        Err(errors) => Err(errors.to_string()),
    }
}

fn of_file(text: &str) -> Result<JetStreamOptions, String> {
    parse(text, JetStreamOverrides::default())
}

fn flags(servers: &[&str], stream: &str) -> JetStreamOverrides {
    JetStreamOverrides {
        servers: servers.iter().map(ToString::to_string).collect(),
        stream: Some(stream.to_owned()),
        ..JetStreamOverrides::default()
    }
}

fn write(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}

#[test]
fn a_section_says_where_the_stream_is_and_has_defaults() {
    let options = of_file(
        "[jetstream]\nservers = [\"a.example\", \"tls://[::1]:5222/\"]\nstream = \"doors\"\n\
         monitors = \"http://a.example:8222/\"",
    );
    let options = options.expect("a configuration");
    let servers = ["nats://a.example:4222", "tls://[::1]:5222"];
    assert_eq!(options.servers, servers);
    assert_eq!(options.stream, "doors");
    assert_eq!(options.prefix, None);
    assert_eq!((options.create, options.replicas), (false, 3));
    assert_eq!(options.stale_after, Duration::from_secs(15));
    assert_eq!(options.monitors, ["http://a.example:8222"]);
    assert_eq!(options.credentials, NatsCredentials::None);
}

#[test]
fn flags_take_precedence_over_the_section() {
    let text =
        "[jetstream]\nservers = [\"old\"]\nstream = \"old\"\nreplicas = 5\nprefix = \"ev.x\"";
    let given = JetStreamOverrides {
        create: true,
        replicas: Some(1),
        ..flags(&["new"], "doors")
    };
    let options = parse(text, given).expect("a configuration");
    assert_eq!(options.servers, ["nats://new:4222"]);
    assert_eq!((options.stream.as_str(), options.replicas), ("doors", 1));
    assert_eq!(options.prefix.as_deref(), Some("ev.x"));
    assert!(options.create);
}

#[test]
fn credentials_of_an_address_are_taken_out_of_it() {
    let of = |address: &str| parse("", flags(&[address], "s")).expect("a configuration");
    let options = of("nats://me:p%40ss@host:4222");
    assert_eq!(options.servers, ["nats://host:4222"]);
    let (name, password) = ("me".to_owned(), "p@ss".to_owned());
    let user = NatsCredentials::User { name, password };
    assert_eq!(options.credentials, user);
    assert!(!format!("{options:?}").contains("p@ss"), "{options:?}");
    assert_eq!(
        of("nats://t0ken@host").credentials,
        NatsCredentials::Token("t0ken".into())
    );
}

#[test]
fn all_errors_are_reported_at_once_and_no_secret_is_among_them() {
    let folder = TempDir::new().expect("a folder");
    let no_seed = write(&folder, "seed", "s3cret in a seed\n");
    let no_creds = write(&folder, "creds", "s3cret in creds\n");
    let no_pem = write(&folder, "pem", "s3cret in pem\n");
    let said = of_file(&format!(
        "[jetstream]\n\
         servers = [\"nats://me:s3cret@host\", \"nats://me:other-s3cret@host\", \"ftp://x:s3cret@y\"]\n\
         stream = \"a.b\"\nprefix = \"a..b\"\nreplicas = 6\nstale_after = \"1s\"\n\
         monitors = [\"http://me:s3cret@host:8222\"]\n\
         user = \"me\"\npassword = \"s3cret\"\npassword_file = \"/nowhere/s\"\n\
         token = 5318008\nnkey_seed_file = {no_seed:?}\ncredentials_file = {no_creds:?}\n\
         [jetstream.tls]\nca = {no_pem:?}\ncertificate = \"/nowhere/c\"\n\
         [retention]\nmax_age = \"1m\"\ndedupe_window = \"61s\"",
    ));
    let said = said.expect_err("errors");
    for part in [
        "line 2, column 11: jetstream.servers: address 3 of 3 has to be an address such as",
        "jetstream.servers has addresses with different credentials",
        "line 3, column 10: jetstream.stream has to be the name of a stream",
        "jetstream.prefix has to be what subjects begin with",
        "jetstream.replicas has to be from 1 to 5",
        "jetstream.stale_after has to be from 3s to 300s",
        "jetstream.monitors has to have addresses such as http://127.0.0.1:8222",
        "jetstream.password and password_file are both there",
        "jetstream.password_file: /nowhere/s: No such file",
        "jetstream.token: has to be a text",
        "jetstream.nkey_seed_file has no NKey seed",
        "jetstream.credentials_file is no credentials file",
        "jetstream has more than one kind of credentials: an address in servers and user",
        "jetstream.tls.ca: ",
        "jetstream.tls.key: is missing",
        "retention.dedupe_window has to be at most retention.max_age",
    ] {
        assert!(said.contains(part), "{part} is missing in: {said}");
    }
    assert!(
        !said.contains("s3cret") && !said.contains("5318008"),
        "{said}"
    );
}

#[test]
fn servers_and_a_stream_are_demanded_where_the_log_is_on_one() {
    let said = of_file("data_dir = \"./harmless\"").expect_err("errors");
    assert!(said.contains("2 error(s)"), "{said}");
    assert!(said.contains("(or give --nats)") && said.contains("(or give --stream)"));

    // Of another engine they may stand there unused.
    let unused = Config::parse("[jetstream]\nstream = \"doors\"", Overrides::default());
    assert!(unused.is_ok(), "{unused:?}");
}

#[test]
fn a_stream_that_is_named_for_another_engine_is_an_error_of_its_flag() {
    let overrides = Overrides {
        jetstream: flags(&["nats://me:s3cret@host"], "doors"),
        ..Overrides::default()
    };
    let said = Config::parse("", overrides).expect_err("an error");
    let said = said.to_string();
    assert!(
        said.contains("--nats is for --engine jetstream, not \"sqlite\""),
        "{said}"
    );
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn errors_of_flags_name_them() {
    let given = JetStreamOverrides {
        replicas: Some(0),
        ..flags(&["nats://a/path"], "two words")
    };
    let text = "[jetstream]\nservers = \"a\"\nstream = \"s\"\nreplicas = 1";
    let said = parse(text, given).expect_err("errors");
    for part in [
        "--nats: jetstream.servers: address 1 of 1",
        "--stream: jetstream.stream has",
        "--replicas: jetstream.replicas has",
    ] {
        assert!(said.contains(part), "{part} is missing in: {said}");
    }
}

#[test]
fn secrets_come_from_files_beside_the_configuration() {
    let folder = TempDir::new().expect("a folder");
    write(&folder, "password", "s3cret\r\n");
    write(&folder, "token", "t0ken\n");
    let seed = KeyPair::new_user().seed().expect("a seed");
    write(&folder, "user.nk", &format!("# a user\n{seed}\n"));
    let jwt = "-----BEGIN NATS USER JWT-----\neyJ0\n------END NATS USER JWT------\n";
    let key = format!("-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n");
    write(&folder, "user.creds", &format!("{jwt}\n{key}"));
    let of = |setting: &str| credentials_in(folder.path(), setting);

    let (name, password) = ("me".to_owned(), "s3cret".to_owned());
    let user = NatsCredentials::User { name, password };
    assert_eq!(of("user = \"me\"\npassword_file = \"password\""), user);
    assert_eq!(
        of("token_file = \"token\""),
        NatsCredentials::Token("t0ken".into())
    );
    assert_eq!(
        of("nkey_seed_file = \"user.nk\""),
        NatsCredentials::NKeySeed(seed)
    );
    let file = folder.path().join("user.creds");
    assert_eq!(
        of("credentials_file = \"user.creds\""),
        NatsCredentials::File(file)
    );
}

/// Those of a configuration file in this folder.
fn credentials_in(folder: &Path, setting: &str) -> NatsCredentials {
    let file = folder.join("vidette.toml");
    let section = "engine = \"jetstream\"\n[jetstream]\nservers = \"a\"\nstream = \"s\"";
    std::fs::write(&file, format!("{section}\n{setting}\n")).expect("a file");
    let config = Config::load(Some(&file), Overrides::default()).expect("a configuration");
    match config.engine {
        EngineKind::JetStream(options) => options.credentials,
        other => panic!("{other:?}"),
    }
}
