//! What is wrong with `[tls]` is said before anything starts, all at once, with its line.

use tempfile::TempDir;

use crate::common::gateway::{Gateway, Setup};
use crate::common::tls::{Authority, LOCAL_NAMES, put};
use crate::support::section;
use crate::tools::{find, root, run};

/// What a gateway says that cannot start with these lines behind `[tls]`.
fn refusal(lines: &str) -> String {
    let folder = TempDir::new().expect("a folder");
    let setup = Setup {
        engine: "memory",
        config: format!("[tls]\n{lines}"),
        ..Setup::default()
    };
    let (code, said) = Gateway::fails_to_start(&setup, folder.path());
    assert_eq!(code, 64, "{said}");
    said
}

#[test]
fn each_file_that_is_wrong_is_named_with_its_line_and_no_byte_of_a_key() {
    let folder = TempDir::new().expect("a folder");
    let authority = Authority::new("tests");
    authority.issue(&LOCAL_NAMES).write(folder.path());
    let other = authority.issue(&LOCAL_NAMES);
    let file = |name: &str, text: &str| put(&folder.path().join(name), text).display().to_string();
    let empty = file("empty.pem", "");
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let locked = file("locked.pem", locked);
    let broken = file("broken.pem", "-----BEGIN PRIVATE KEY-----c2VjcmV0\n");
    let huge = file("huge.pem", &"x".repeat(2_000_000));
    let other = file("other.pem", &other.key);
    let certificate = file("c.pem", &authority.issue(&LOCAL_NAMES).certificate);

    for (lines, said) in [
        (
            format!("certificate = \"{empty}\"\nkey = \"{other}\""),
            vec![
                ":2:15: tls.certificate: ",
                "empty.pem has no certificate in PEM",
            ],
        ),
        (
            format!("certificate = \"/nowhere/c.pem\"\nkey = \"{locked}\"\nclient_ca = \"{huge}\""),
            vec![
                ":2:15: tls.certificate: /nowhere/c.pem: No such file",
                ":3:7: tls.key: ",
                "locked.pem has no private key in PEM that can be read without a password",
                ":4:13: tls.client_ca: ",
                "huge.pem is longer than 1048576 bytes",
            ],
        ),
        (
            format!("certificate = \"{certificate}\"\nkey = \"{broken}\"\nclient_ca = \"{empty}\""),
            vec![
                ":3:7: tls.key: ",
                "broken.pem has no private key in PEM",
                ":4:13: tls.client_ca: ",
                "empty.pem has no certificate in PEM",
            ],
        ),
        (
            format!("certificate = \"{certificate}\"\nkey = \"{other}\""),
            vec![
                ":3:7: tls.key: ",
                "other.pem is not the key of the first certificate in ",
                "c.pem",
            ],
        ),
        (
            "certificate = \"\"\nkeys = 1".into(),
            vec![
                "tls.certificate: is missing",
                "tls.key: is missing",
                ":3:8: tls.keys: unknown setting",
            ],
        ),
    ] {
        let refusal = refusal(&lines);
        for part in said {
            assert!(refusal.contains(part), "{part} is missing in {refusal}");
        }
        assert!(!refusal.contains("c2VjcmV0"), "a key is in {refusal}");
    }
}

#[test]
fn an_expired_certificate_is_warned_of_and_served() {
    let folder = TempDir::new().expect("a folder");
    let names = LOCAL_NAMES.map(str::to_owned).to_vec();
    let mut params = rcgen::CertificateParams::new(names).expect("names");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    Authority::new("tests").sign(&params).write(folder.path());
    let gateway = Gateway::start_with(Setup {
        engine: "memory",
        config: section(folder.path()),
        ..Setup::default()
    });
    assert!(
        gateway.log().contains("the certificate has expired"),
        "{}",
        gateway.log()
    );
}

/// The commands of docs/tls.md, as they stand there.
#[tokio::test]
async fn the_certificate_of_the_page_is_one_that_clients_take() {
    let page = std::fs::read_to_string(root().join("docs/tls.md")).expect("the page");
    let (_, commands) = page
        .split_once("<!-- OWN -->\n```sh\n")
        .expect("the commands");
    let (commands, _) = commands.split_once("```").expect("their end");
    let folder = TempDir::new().expect("a folder");
    let commands = format!("set -e; cd {}; {commands}", folder.path().display());
    run("/bin/sh", &["-c", &commands]).await.ok();

    let gateway = Gateway::start_with(Setup {
        engine: "memory",
        config: section(folder.path()),
        ..Setup::default()
    });
    let (ca, port) = (folder.path().join("ca.pem"), gateway.address().port());
    let (ca, url) = (
        ca.display().to_string(),
        format!("https://localhost:{port}/healthz"),
    );
    let said = run(find("curl", "bin"), &["-sS", "--cacert", &ca, &url]).await;
    assert_eq!(said.ok(), "ok\n");
}
