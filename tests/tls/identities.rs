//! Certificates of clients: verified where they are shown, and nobody has to show one.

use std::io;
use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::tls::{Authority, Identity, put};
use crate::support::{Connection, TlsGateway, get};
use crate::tools::{find, run};

/// A gateway that knows its clients by another authority than that of its own certificate.
fn gateway(clients: &Authority) -> TlsGateway {
    TlsGateway::start_in(|folder| {
        let file = put(&folder.join("clients.pem"), &clients.pem());
        format!("client_ca = \"{}\"", file.display())
    })
}

fn client(gateway: &TlsGateway, identity: &Identity) -> Arc<ClientConfig> {
    gateway.authority.client_as(identity, &["http/1.1"])
}

/// An answer to such a client.
async fn ask(gateway: &TlsGateway, client: Arc<ClientConfig>) -> io::Result<(Connection, String)> {
    let mut connection = gateway.try_connect(client).await?;
    let request = get("/v1/bus", "Connection: close\r\n");
    connection.stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.stream.read_to_string(&mut answer).await?;
    Ok((connection, answer))
}

async fn is_served(gateway: &TlsGateway, client: Arc<ClientConfig>) -> bool {
    let answer = ask(gateway, client).await;
    answer.is_ok_and(|(_, answer)| answer.starts_with("HTTP/1.1 200"))
}

/// A certificate for a client, of which the test changes something.
fn issue(authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let mut params = CertificateParams::new(vec!["billing.example".into()]).expect("a name");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    authority.sign(&params)
}

#[tokio::test]
async fn who_shows_a_good_certificate_or_none_is_served_and_a_bad_one_is_refused() {
    let (clients, others) = (Authority::new("clients"), Authority::new("others"));
    let gateway = gateway(&clients);
    assert!(is_served(&gateway, gateway.authority.client(&["http/1.1"])).await);
    let good = issue(&clients, |_| {});
    assert!(is_served(&gateway, client(&gateway, &good)).await);

    let expired = issue(&clients, |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let early = issue(&clients, |params| {
        params.not_before = date_time_ymd(2100, 1, 1);
    });
    let of_a_server = issue(&clients, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    for (what, bad) in [
        ("of another authority", issue(&others, |_| {})),
        ("expired", expired),
        ("not valid yet", early),
        ("for servers", of_a_server),
    ] {
        assert!(!is_served(&gateway, client(&gateway, &bad)).await, "{what}");
    }
}

#[tokio::test]
async fn without_authorities_of_clients_no_certificate_is_asked_for() {
    let gateway = TlsGateway::start();
    let unknown = issue(&Authority::new("others"), |_| {});
    assert!(is_served(&gateway, client(&gateway, &unknown)).await);
}

/// A session of before is not resumed with authorities that are no longer trusted.
#[tokio::test]
async fn authorities_that_are_replaced_are_trusted_no_longer() {
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    let gateway = gateway(&before);
    let (old, new) = (issue(&before, |_| {}), issue(&after, |_| {}));
    let old = client(&gateway, &old);
    let kind = async || {
        let (connection, _) = ask(&gateway, old.clone()).await.expect("an answer");
        connection.stream.get_ref().1.handshake_kind()
    };
    assert_eq!(kind().await, Some(HandshakeKind::Full));
    assert_eq!(kind().await, Some(HandshakeKind::Resumed));

    put(&gateway.folder.path().join("clients.pem"), &after.pem());
    let new = client(&gateway, &new);
    let is_known = || async { is_served(&gateway, new.clone()).await };
    gateway
        .gateway
        .until("the new one is trusted", is_known)
        .await;
    assert!(!is_served(&gateway, old.clone()).await);
}

const RIGHTS: &str = "[auth]\n\
    [[auth.certificate]]\nname = \"billing.example\"\npublish = [\"billing.>\"]\n\
    subscribe = [\"billing.>\"]";

/// Over HTTP and over gRPC, by clients that people use.
#[tokio::test]
async fn a_name_of_a_certificate_gives_its_rights_and_no_other() {
    let clients = Authority::new("clients");
    let gateway = TlsGateway::start_in(|folder| {
        let file = put(&folder.join("clients.pem"), &clients.pem());
        format!("client_ca = {file:?}\n{RIGHTS}")
    });
    let folder = gateway.folder.path();
    let files = |name: &str, identity: &Identity| {
        let put = |name: String, text: &str| put(&folder.join(name), text).display().to_string();
        let certificate = put(format!("{name}.pem"), &identity.certificate);
        (certificate, put(format!("{name}-key.pem"), &identity.key))
    };
    let billing = files("billing", &issue(&clients, |_| {}));
    let other = files("other", &clients.issue(&["other.example"]));
    let ca = gateway.ca();
    let post = async |topic: &str, shown: Option<&(String, String)>| {
        let url = gateway.url(&format!("/v1/topics/{topic}"));
        // Who is refused is answered before its body has come, and curl may take the end of such an
        // HTTP/2 stream for an error.
        let mut args = vec![
            "--http1.1",
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--cacert",
            &ca,
        ];
        if let Some((certificate, key)) = shown {
            args.extend(["--cert", certificate, "--key", key]);
        }
        args.extend(["-d", "{}", &url]);
        run(find("curl", "bin"), &args).await.ok()
    };
    assert_eq!(post("billing.1", Some(&billing)).await, "200");
    assert_eq!(post("door.1", Some(&billing)).await, "403");
    assert_eq!(post("billing.1", Some(&other)).await, "401");
    assert_eq!(post("billing.1", None).await, "401");

    let address = gateway.gateway.address().to_string();
    let call = async |shown: &[&str]| {
        let get_bus = [&address[..], "vidette.v1.EventBus/GetBus"];
        let args = [&["-cacert", &ca], shown, &get_bus].concat();
        run(find("grpcurl", "bin"), &args).await
    };
    let known = call(&["-cert", &billing.0, "-key", &billing.1]).await.ok();
    assert!(known.contains("epoch"), "{known}");
    let unknown = call(&[]).await;
    assert!(unknown.stderr.contains("Unauthenticated"), "{unknown:?}");
}
