//! Clients that are known by their certificates.

use serde_json::json;
use tempfile::TempDir;

use crate::clients::{Call, Who, curl, exhausted, grpcurl, refused, status};
use crate::common::gateway::{Gateway, Setup};
use crate::common::tls::{Authority, LOCAL_NAMES};

/// A gateway that knows two certificates, and the folder with them.
fn gateway(limits: &str) -> (Gateway, TempDir) {
    let (authority, folder) = (Authority::new("tests"), TempDir::new().expect("a folder"));
    let path = folder.path();
    std::fs::write(path.join("ca.pem"), authority.pem()).expect("a file");
    authority.issue(&LOCAL_NAMES).write(path);
    let mut config = format!(
        "[limits.key]\n{limits}\n[tls]\ncertificate = \"{0}/cert.pem\"\nkey = \"{0}/key.pem\"\n\
         client_ca = \"{0}/ca.pem\"\n[auth]\nanonymous = {{ subscribe = [\">\"], publish = [] }}\n",
        path.display()
    );
    for name in ["billing.example", "doors.example"] {
        let own = path.join(name);
        std::fs::create_dir(&own).expect("a folder");
        authority.issue(&[name]).write(&own);
        config = format!(
            "{config}[[auth.certificate]]\nname = \"{name}\"\npublish = [\">\"]\nsubscribe = [\">\"]\n"
        );
    }
    let setup = Setup {
        engine: "memory",
        config,
        ..Setup::default()
    };
    (Gateway::start_with(setup), folder)
}

/// A call by the client that this certificate is of.
struct Certified<'f>(&'f TempDir, &'static str);

impl Certified<'_> {
    fn file(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn own(&self, name: &str) -> String {
        self.file(&format!("{}/{name}", self.1))
    }

    fn curl(&self, gateway: &Gateway, path: &str) -> Call {
        let (certificate, key) = (self.own("cert.pem"), self.own("key.pem"));
        let known = [
            "--cacert",
            &self.file("ca.pem"),
            "--cert",
            &certificate,
            "--key",
            &key,
        ];
        curl(gateway, &Who::at("127.0.0.1"), path).with(&known)
    }

    fn grpcurl(&self, gateway: &Gateway, method: &str, message: &str) -> Call {
        let (certificate, key) = (self.own("cert.pem"), self.own("key.pem"));
        let known = [
            "-cacert",
            &self.file("ca.pem"),
            "-cert",
            &certificate,
            "-key",
            &key,
        ];
        grpcurl(gateway, &known, method, message)
    }
}

#[tokio::test]
async fn the_name_of_a_certificate_has_its_own_limits_over_http_and_grpc() {
    let (gateway, folder) =
        gateway("subscriptions = 1\npublished_events_per_second = 1\npublished_events_burst = 100");
    let [billing, doors] = ["billing.example", "doors.example"].map(|n| Certified(&folder, n));
    let mut open = billing.curl(&gateway, "/v1/sse").start();
    open.line_with("vidette.hello").await;

    let poll = "/v1/poll?wait=0";
    let busy = refused(&billing.curl(&gateway, poll).run().await, 429);
    assert!(busy.detail.contains("limits.key.subscriptions"), "{busy:?}");
    exhausted(&billing.grpcurl(&gateway, "Subscribe", "{}").run().await);
    assert_eq!(status(&doors.curl(&gateway, poll).run().await), 200);

    let event = json!({ "topic": "door.1", "data": "MQ==" });
    let batch = json!({ "events": vec![event; 100] }).to_string();
    let publish = async |who: &Certified<'_>| who.grpcurl(&gateway, "Publish", &batch).run().await;
    publish(&billing).await.ok();
    exhausted(&publish(&billing).await);
    publish(&doors).await.ok();
}
