//! Behind nginx, over a Unix socket, as docs/proxies.md sets it up.

use std::path::Path;

use crate::served::{Served, free_port, installed, until};
use crate::tools::Running;
use crate::wire::Wire;

/// nginx between a port and a Unix socket; it ends with its process in the foreground.
async fn nginx(folder: &Path, socket: &str) -> (u16, Running) {
    let (port, at) = (free_port(), folder.display());
    let config = format!(
        "daemon off;\nmaster_process off;\npid {at}/nginx.pid;\nerror_log {at}/error.log;\n\
         events {{}}\nhttp {{\n  access_log off;\n  client_body_temp_path {at}/b;\n  \
         proxy_temp_path {at}/p;\n  fastcgi_temp_path {at}/f;\n  uwsgi_temp_path {at}/u;\n  \
         scgi_temp_path {at}/s;\n  server {{\n    listen 127.0.0.1:{port};\n    location / {{\n      \
         proxy_pass http://unix:{socket};\n      proxy_http_version 1.1;\n      \
         proxy_set_header Connection \"\";\n      proxy_set_header Host $host;\n      \
         proxy_set_header X-Forwarded-For $remote_addr;\n      \
         proxy_set_header X-Forwarded-Proto $scheme;\n      \
         proxy_set_header Forwarded \"\";\n      \
         proxy_buffering off;\n    }}\n  }}\n}}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config).expect("a file");
    let running = Running::start(installed("nginx"), &["-c", &file.display().to_string()]);
    let listens = async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
    };
    until("nginx listens", listens).await;
    (port, running)
}

#[tokio::test]
async fn clients_behind_nginx_are_told_apart_over_a_unix_socket() {
    let config = "listen = \"unix:v.sock\"\nunix_mode = \"666\"\n[proxy]\ntrusted = \"unix\"\n\
        [limits.address]\nsubscriptions = 1\n[origins]\nhosts = [\"localhost\"]";
    let gateway = Served::start(config, &[]).await;
    let socket = gateway.path("v.sock").display().to_string();
    let (port, _nginx) = nginx(gateway.folder.path(), &socket).await;
    let stream = async |from: &str, headers: &str| {
        let mut wire = Wire::connect(from, port).await;
        let said = wire.ask("/v1/sse", headers, "data: {").await;
        (said.contains("event: vidette.hello"), wire)
    };
    let (is_let, _one) = stream("127.0.0.5", "").await;
    assert!(is_let);
    for claim in [
        "X-Forwarded-For: 192.0.2.9\r\n",
        "Forwarded: for=192.0.2.9\r\n",
    ] {
        assert!(!stream("127.0.0.5", claim).await.0, "{claim}");
    }
    assert!(
        stream("127.0.0.6", "X-Forwarded-For: 127.0.0.5\r\n")
            .await
            .0
    );
}
