//! A provider of keys that counts how often it is asked for them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Answers until the test program ends.
pub struct KeyServer {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = stream.and_then(answer);
            }
        });
        KeyServer { port, asked }
    }

    /// The entry that has a gateway ask here.
    pub fn settings(&self) -> String {
        format!(
            "[[auth.jwt]]\nalgorithms = [\"RS256\"]\njwks_url = \"http://127.0.0.1:{}/keys\"\n",
            self.port
        )
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// The modulus of an RSA key that signs no token.
const MODULUS: &str = concat!(
    "zOoMOLCLQOD7-Nf4XqWjJF9GoLf-aZ3UL9N14Odb-Co1s09wvJyhkcYCgMygB3jq5bDCK4cWDbAF",
    "qI5cozFrk3RZaDeuKMuoRedSFCfZaTt7mWudco5dCNqwuOn1oPdFcm8fFHegx0NncqNwmiz4oPEG",
    "U6vnUkxV8ZHSxyUcbnvoeb6Vohk4rOMa6IZKqOEi-LKCBqYHzaQ5n73La1VMcWxYDE0iTwvn54RV",
    "e70Dj5NT3aJRTpOu-JLejJ0VlLEhaq30_pEtjGtF37uFKRRakPGz1nFbs8ulDNxjoDjrTwc2q8OF",
    "rgCdOUILvxoThund9mtwDHgw6kjVyjfFFeBdBQ",
);

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request)?;
    let key = format!(r#"{{"kty":"RSA","kid":"1","alg":"RS256","n":"{MODULUS}","e":"AQAB"}}"#);
    let body = format!(r#"{{"keys":[{key}]}}"#);
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}
