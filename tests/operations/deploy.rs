//! The files in `deploy/`: what they say is there, and the programs that are to read them do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use vidette::config::{Config, Overrides};

use crate::common::gateway::{Gateway, Setup};
use crate::common::nats::NatsCluster;

/// What has to be left for a gateway to end after `[drain]`.
const REST: Duration = Duration::from_secs(10);

/// Where there is a configuration of a gateway, and the file that says how long it may take to end.
const WAYS: [(&str, &str, &str); 3] = [
    ("cluster", "cluster/compose.yaml", "stop_grace_period: "),
    ("systemd", "systemd/vidette.service", "TimeoutStopSec="),
    (
        "kubernetes",
        "kubernetes/gateway.yaml",
        "terminationGracePeriodSeconds: ",
    ),
];

const NATS_CONFIGS: [&str; 3] = [
    "cluster/nats.conf",
    "systemd/nats-server.conf",
    "kubernetes/nats.conf",
];

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn text(file: &str) -> String {
    let path = deploy().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files in the folder, with their names in it.
fn all_texts() -> Vec<(String, String)> {
    let mut folders = vec![deploy()];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(deploy()).expect("a file in deploy");
            let name = name.display().to_string();
            let text = text(&name);
            texts.push((name, text));
        }
    }
    texts
}

/// A program of the system; none where it is not installed.
fn installed(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/bin"];
    let mut paths = folders.iter().map(|folder| Path::new(folder).join(name));
    paths.find(|path| path.is_file())
}

fn nats_server() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/nats-server");
    std::env::var_os("NATS_SERVER").map_or(own, PathBuf::from)
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!("{}: {error}", command.get_program().display());
    })
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

fn assert_accepts(command: &mut Command) {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", said(&output));
}

fn help() -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vidette"));
    said(&run(command.args(["serve", "--help"])))
}

#[test]
fn a_gateway_takes_each_configuration_and_would_connect_to_nats_with_it() {
    for (folder, ..) in WAYS {
        let here = TempDir::new().expect("a folder");
        let password = here.path().join("nats-password");
        fs::write(&password, "secret").expect("a file");
        // Where systemd puts it.
        let credential = "/run/credentials/vidette.service/nats-password";
        let config = text(&format!("{folder}/vidette.toml"));
        let in_file = config.contains(credential);
        let config = config.replace(credential, &password.display().to_string());
        let file = here.path().join("vidette.toml");
        fs::write(&file, config).expect("a file");

        let mut command = Command::new(env!("CARGO_BIN_EXE_vidette"));
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        // Nobody listens there.
        command.args(["--nats", "nats://127.0.0.1:1", "--config"]);
        command.arg(file).env_clear();
        if !in_file {
            command.env("VIDETTE_JETSTREAM__PASSWORD", "secret");
        }
        let output = run(&mut command);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{folder}: {said}");
        assert!(said.contains("cannot connect to NATS"), "{folder}: {said}");
    }
}

#[test]
fn a_gateway_has_the_time_that_it_needs_to_end() {
    for (folder, file, setting) in WAYS {
        let text_of_service = text(file);
        let given = text_of_service.split(setting).skip(1).map(|rest| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
            digits.and_then(|digits| digits.parse().ok())
        });
        // Those of NATS are in the same file of compose.
        let given = given.map(|seconds| seconds.map(Duration::from_secs)).min();
        let given = given.flatten().expect("a time to end");

        let config = text(&format!("{folder}/vidette.toml"));
        let without_user = |line: &&str| !line.starts_with("user") && !line.contains("password");
        let lines: Vec<_> = config.lines().filter(without_user).collect();
        let config = Config::parse(&lines.join("\n"), Overrides::default());
        let drain = config.expect("a configuration").drain;
        assert!(drain.notice + drain.over + REST <= given, "{file}");
    }
}

#[test]
fn every_flag_and_variable_is_one_that_the_command_has() {
    let help = help();
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let mut found = 0;
    for (file, text) in all_texts() {
        for line in text.lines() {
            let words = line.split(|c| !is_of_name(c));
            for word in words.filter(|word| word.starts_with("VIDETTE_")) {
                // Settings of sections are tried by the gateway itself.
                let is_known = word.contains("__") || help.contains(&format!("[env: {word}"));
                assert!(is_known, "{file}: {word}");
                found += 1;
            }
            let after = |start: &str| line.split_once(start).map(|(_, flags)| flags);
            let command = after("\"serve\", ").or_else(|| after("vidette serve "));
            let command = command.unwrap_or_default();
            let flags = command.split(|c| !is_of_name(c));
            for flag in flags.filter(|word| word.starts_with("--")) {
                assert!(help.contains(&format!("{flag} <")), "{file}: {flag}");
                found += 1;
            }
        }
    }
    assert!(found >= 6, "only {found} were looked at");
}

#[test]
fn nats_takes_its_files_and_they_demand_what_the_docs_promise() {
    let here = TempDir::new().expect("a folder");
    let permissions = here.path().join("permissions.conf");
    fs::write(permissions, text("nats/permissions.conf")).expect("a file");
    for name in NATS_CONFIGS {
        let config = text(name);
        for setting in ["max_payload: 4MB", "sync_interval: always"] {
            assert!(config.contains(setting), "{name}: {setting}");
        }
        let file = here.path().join("nats.conf");
        fs::write(&file, config).expect("a file");
        let mut command = Command::new(nats_server());
        command.arg("-t").arg("-c").arg(file).env_clear();
        for variable in [
            "NATS_NAME",
            "NATS_GATEWAY_PASSWORD",
            "NATS_OPERATOR_PASSWORD",
        ] {
            command.env(variable, "text");
        }
        assert_accepts(&mut command);
    }
}

#[test]
fn the_balancers_take_their_files() {
    let here = TempDir::new().expect("a folder");
    let nginx = text("cluster/nginx.conf");
    // Names of the network of compose, which nobody knows here.
    let nginx = nginx.replace("gateway1:", "127.0.0.1:1");
    let nginx = nginx.replace("gateway2:", "127.0.0.1:2");
    let file = here.path().join("nginx.conf");
    fs::write(&file, nginx).expect("a file");
    let pid = format!("pid {}/nginx.pid;", here.path().display());
    let mut command = Command::new(installed("nginx").expect("nginx (make setup)"));
    assert_accepts(command.arg("-t").arg("-c").arg(file).args(["-g", &pid]));

    let mut command = Command::new(installed("haproxy").expect("haproxy (make setup)"));
    let file = deploy().join("cluster/haproxy.cfg");
    assert_accepts(command.arg("-c").arg("-f").arg(file));
}

#[test]
fn systemd_takes_the_services() {
    let Some(systemd) = installed("systemd-analyze") else {
        return eprintln!("skipped: systemd-analyze is not installed");
    };
    let here = TempDir::new().expect("a folder");
    for (folder, name) in [
        ("systemd", "vidette.service"),
        ("systemd", "nats-server.service"),
        ("debian", "vidette.service"),
    ] {
        let unit = text(&format!("{folder}/{name}"));
        // It looks for the programs and the user, which are not on this machine.
        let unit = unit.replace("/usr/local/bin/vidette", "/bin/true");
        let unit = unit.replace("/usr/bin/vidette", "/bin/true");
        let unit = unit.replace("=vidette\n", "=root\n");
        // Nor is its manual page.
        let unit = unit.replace("Documentation=man:vidette(1)\n", "");
        let unit = unit.replace("/usr/local/bin/nats-server", "/bin/true");
        let unit = unit.replace("User=nats", "User=root");
        let file = here.path().join(name);
        fs::write(&file, unit).expect("a file");
        let output = run(Command::new(&systemd).arg("verify").arg(&file));
        let complaints: Vec<String> = said(&output)
            .lines()
            .filter(|line| line.contains(name))
            .map(str::to_owned)
            .collect();
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}

#[test]
fn kubernetes_gets_all_manifests_with_the_files_in_them() {
    let Some(kubectl) = installed("kubectl") else {
        return eprintln!("skipped: kubectl is not installed");
    };
    let mut command = Command::new(kubectl);
    let output = run(command.arg("kustomize").arg(deploy().join("kubernetes")));
    let manifests = said(&output);
    assert!(output.status.success(), "{manifests}");
    let kinds = [
        "Deployment",
        "StatefulSet",
        "Service",
        "ConfigMap",
        "PodDisruptionBudget",
    ];
    for kind in kinds {
        assert!(manifests.contains(&format!("kind: {kind}")), "{kind}");
    }
    for file in ["nats.conf: |", "permissions.conf: |", "vidette.toml: |"] {
        assert!(manifests.contains(file), "{file}");
    }
}

#[test]
fn helm_makes_manifests_of_the_chart() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/helm");
    let own = Some(own).filter(|own| own.is_file());
    let Some(helm) = own.or_else(|| installed("helm")) else {
        return eprintln!("skipped: helm is not installed");
    };
    let of_chart = |asked: &[&str], settings: &[&str]| {
        let mut command = Command::new(&helm);
        command.args(asked).arg(deploy().join("helm/vidette"));
        for setting in settings {
            command.args(["--set", setting]);
        }
        let output = run(&mut command);
        assert!(output.status.success(), "{asked:?}: {}", said(&output));
        said(&output)
    };
    of_chart(&["lint", "--strict"], &[]);
    let template = ["template", "push"];
    let manifests = of_chart(&template, &["ingress.enabled=true", "secretName=keys"]);
    let probes = ["startupProbe", "readinessProbe", "livenessProbe"];
    for part in ["kind: StatefulSet", "kind: Ingress", "secretName: keys"]
        .iter()
        .chain(&probes)
    {
        assert!(manifests.contains(part), "{part}: {manifests}");
    }
    // What is left out leaves nothing behind.
    let without = ["resources=null", "ingress.tlsSecretName="];
    let without = of_chart(
        &template,
        &[&["ingress.enabled=true"], &without[..]].concat(),
    );
    for part in ["null", "secretName:", "tls:"] {
        assert!(!without.contains(part), "{part}: {without}");
    }
}

/// The configurations of a gateway alone are ones that it takes.
#[test]
fn a_gateway_takes_the_configurations_of_the_package_the_chart_and_the_proxies() {
    let values = text("helm/vidette/values.yaml");
    let of_chart = values.split_once("config: |\n").expect("a configuration").1;
    let is_of_it = |line: &&str| line.is_empty() || line.starts_with("  ");
    let of_chart: Vec<&str> = of_chart
        .lines()
        .take_while(is_of_it)
        .map(str::trim)
        .collect();
    let of_files = ["debian/vidette.toml", "proxies/vidette.toml"].map(text);
    for config in of_files.into_iter().chain([of_chart.join("\n")]) {
        let taken = Config::parse(&config, Overrides::default());
        assert!(taken.is_ok(), "{config}: {:?}", taken.err());
    }
}

/// The configuration of a gateway in compose, on another cluster, and with a source, so that all
/// that a gateway does at NATS is tried.
fn config_on(nats: &NatsCluster) -> String {
    let config = text("cluster/vidette.toml");
    let lines = config.lines().map(|line| {
        let setting = line.split(' ').next().unwrap_or_default();
        match setting {
            "servers" => format!("servers = {:?}", nats.urls()),
            "monitors" => format!("monitors = [{:?}]", nats.servers[0].monitor_url()),
            "replicas" => "replicas = 1".to_owned(),
            _ => line.to_owned(),
        }
    });
    let lines: Vec<String> = lines.collect();
    let source =
        "[[source.gearman]]\nfunction = \"f\"\ntopic = \"door.1\"\nservers = \"127.0.0.1:1\"\n";
    format!("{}\n{source}", lines.join("\n"))
}

/// The end of a stream is found a moment after the start.
async fn until_ready(gateway: &Gateway) {
    let is_ready = async || {
        let answer = reqwest::get(format!("{}/readyz", gateway.url())).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    };
    gateway.until("it is ready", is_ready).await;
}

#[tokio::test]
async fn a_gateway_can_do_all_that_it_does_with_the_permissions_it_is_given() {
    let permissions = text("nats/permissions.conf");
    let permissions = permissions.replace("$NATS_GATEWAY_PASSWORD", "of_gateway");
    let permissions = permissions.replace("$NATS_OPERATOR_PASSWORD", "of_operator");
    let nats = NatsCluster::start_with(1, &permissions).await;
    let password = ("VIDETTE_JETSTREAM__PASSWORD", "of_gateway");
    let mut gateway = Gateway::start_on_a_port_of_its_own(Setup {
        engine: "jetstream",
        config: config_on(&nats),
        env: vec![(password.0.to_owned(), password.1.to_owned())],
        ..Setup::default()
    });
    until_ready(&gateway).await;
    for door in 1..=3 {
        let topic = format!("door.{door}");
        gateway
            .publish(&json!({ "topic": topic, "id": door.to_string(), "data": door }))
            .await;
    }
    let holds_lease = async || gateway.log().contains("this gateway holds the lease");
    gateway.until("it holds the lease", holds_lease).await;

    // Read from the stream: a gateway that has just been started has no events in memory.
    gateway.kill();
    gateway.start_again();
    until_ready(&gateway).await;
    for query in ["after=earliest", "since=1h", "snapshot=true&topic=door.*"] {
        let page = gateway.get(&format!("/v1/poll?wait=0&{query}")).await;
        let events = page["events"].as_array().map(Vec::len);
        assert_eq!(events, Some(3), "{query}: {page}");
    }
    let topics = gateway.get("/v1/topics").await;
    assert_eq!(
        topics["topics"].as_array().map(Vec::len),
        Some(3),
        "{topics}"
    );
    gateway
        .publish(&json!({ "topic": "door.4", "data": 4 }))
        .await;

    let log = nats.folder().join("n1.log");
    let log = fs::read_to_string(log).expect("the log of NATS");
    assert!(!log.contains("Violation"), "{log}");
    assert!(!log.contains("authorization"), "{log}");
}
