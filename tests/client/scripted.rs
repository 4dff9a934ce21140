//! A server that plays a script: one answer for each connection, byte by byte as a test wants it.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What one connection gets.
#[derive(Clone)]
pub(crate) enum Scene {
    /// These bytes, then the end of the connection.
    Send(String),
    /// The end of the connection, without a word.
    Nothing,
    /// These bytes, and then silence.
    Hold(String),
    /// An answer for each line of the body, once it has come; the answers end after the last one,
    /// when the body has ended.
    Answers(Vec<String>),
}

/// A running script.
pub(crate) struct ScriptedServer {
    address: std::net::SocketAddr,
    /// The head of each request, in order.
    requests: Arc<Mutex<Vec<String>>>,
}

impl ScriptedServer {
    /// Plays a scene for each connection; the last one again for all that come later.
    pub(crate) async fn play(scenes: Vec<Scene>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok((connection, _)) = listener.accept().await {
                let scene = scenes[number.min(scenes.len() - 1)].clone();
                number += 1;
                tokio::spawn(play_scene(connection, scene, seen.clone()));
            }
        });
        ScriptedServer { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests until now: their first lines and headers, and what came with them.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("requests").clone()
    }
}

async fn play_scene(mut connection: TcpStream, scene: Scene, seen: Arc<Mutex<Vec<String>>>) {
    let mut request = read_request(&mut connection).await;
    if let Scene::Answers(answers) = scene {
        seen.lock().expect("requests").push(request.clone());
        return answer_lines(connection, &mut request, answers).await;
    }
    seen.lock().expect("requests").push(request);
    match scene {
        Scene::Send(text) => {
            let _ = connection.write_all(text.as_bytes()).await;
            let _ = connection.shutdown().await;
        }
        Scene::Nothing | Scene::Answers(_) => {}
        Scene::Hold(text) => {
            let _ = connection.write_all(text.as_bytes()).await;
            std::future::pending::<()>().await;
        }
    }
}

async fn answer_lines(mut connection: TcpStream, request: &mut String, answers: Vec<String>) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n";
    let _ = connection.write_all(head.as_bytes()).await;
    for (number, answer) in answers.iter().enumerate() {
        // Each line of the body is a JSON object.
        read_until(&mut connection, request, |r| {
            r.matches("}\n").count() > number
        })
        .await;
        let _ = connection.write_all(format!("{answer}\n").as_bytes()).await;
    }
    read_until(&mut connection, request, |r| r.ends_with("\r\n0\r\n\r\n")).await;
    let _ = connection.shutdown().await;
}

/// The head, and a body of the length that it names.
async fn read_request(connection: &mut TcpStream) -> String {
    let mut request = String::new();
    read_until(connection, &mut request, is_complete).await;
    request
}

/// Reads on until something is there, or the connection has ended.
async fn read_until(
    connection: &mut TcpStream,
    request: &mut String,
    is_there: impl Fn(&str) -> bool,
) {
    let mut chunk = [0; 4096];
    while !is_there(request) {
        let count = connection.read(&mut chunk).await.unwrap_or(0);
        request.push_str(&String::from_utf8_lossy(&chunk[..count]));
        if count == 0 {
            return;
        }
    }
}

fn is_complete(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        line.to_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    body.len() >= length.unwrap_or(0)
}

/// An answer with its length.
pub(crate) fn answer(status: &str, content_type: &str, more: &str, body: &str) -> Scene {
    let length = body.len();
    Scene::Send(format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{more}\
         Connection: close\r\n\r\n{body}"
    ))
}

/// An event stream that ends with its connection.
pub(crate) fn event_stream(blocks: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n{blocks}")
}
