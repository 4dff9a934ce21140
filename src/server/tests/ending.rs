//! Connections of HTTP/2 that end while their peers go on sending.

use super::*;

/// What a client begins with (RFC 9113 §3.4): its preface and settings.
const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// `GET http://localhost/healthz` as stream 1, whole; its fields are in HPACK's static table but
/// for the two texts (RFC 7541).
const REQUEST: &[u8] = b"\0\0\x16\x01\x05\0\0\0\x01\x82\x86\x04\x08/healthz\x01\x09localhost";
/// A window that the client opens for the whole connection.
const WINDOW_UPDATE: &[u8] = b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01";
const PING: u8 = 6;
const ACK: u8 = 1;

impl Connected {
    /// One frame: its type, flags and payload; none at the end.
    async fn read_frame(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        let mut head = [0; 9];
        let first = self.0.read(&mut head[..1]).await.expect("not reset");
        if first == 0 {
            return None;
        }
        self.0.read_exact(&mut head[1..]).await.expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.expect("a payload");
        Some((head[3], head[4], payload))
    }

    /// Reads to the end and answers pings, for one of which the end waits.
    async fn read_frames_to_end(&mut self) {
        while let Some((kind, flags, payload)) = self.read_frame().await {
            if kind == PING && flags & ACK == 0 {
                let ack = [&[0, 0, 8, PING, ACK, 0, 0, 0, 0], payload.as_slice()].concat();
                self.0.write_all(&ack).await.expect("the gateway reads");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_of_http2_that_opens_windows_after_the_end_is_not_reset() {
    let gateway = TestGateway::start("").await;
    let mut client = gateway.connect(STREAM_BYTES);
    let sent = [BEGINNING, REQUEST].concat();
    client.0.write_all(&sent).await.expect("the gateway reads");
    gateway.context.draining.cancel();
    let reading = timeout(PATIENCE, client.read_frames_to_end()).await;
    reading.expect("its end comes");

    // It has the last answer, and may still say so; when it never leaves, it is left.
    let says = client.0.write_all(WINDOW_UPDATE).await;
    says.expect("not reset");
    gateway.context.admission.tracker.close();
    let gone = timeout(PATIENCE, gateway.context.admission.tracker.wait()).await;
    gone.expect("bounded");
}
