//! What the contract says, read a second time: naive, and without any code of the gateway.

/// Reads a cursor by the letter of contract §3.
pub(super) fn cursor(text: &str) -> Option<(u64, Option<&str>)> {
    let (digits, epoch) = text
        .split_once('-')
        .map_or((text, None), |(vid, epoch)| (vid, Some(epoch)));
    let is_number = (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let is_epoch = |e: &str| {
        (6..=16).contains(&e.len()) && e.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9'))
    };
    let vid = digits
        .parse::<u128>()
        .ok()
        .filter(|vid| is_number && *vid < 1 << 53)?;
    epoch
        .is_none_or(is_epoch)
        .then(|| (u64::try_from(vid).expect("below 2^53"), epoch))
}

/// Contract §1, but for wildcards and the gateway's own topics.
pub(super) fn topic(text: &str) -> bool {
    let tokens: Vec<&str> = text.split('.').collect();
    let has_bad = text.chars().any(|c| c.is_whitespace() || c.is_control());
    text.len() <= 255
        && tokens.len() <= 16
        && tokens.iter().all(|token| !token.is_empty())
        && !has_bad
}

/// A topic of a filter: wildcards are whole tokens, `>` is the last.
pub(super) fn pattern(text: &str) -> bool {
    let tokens: Vec<&str> = text.split('.').collect();
    let (last, others) = tokens.split_last().expect("a split has a part");
    let is_literal_or_star = |t: &&str| *t == "*" || !t.contains(['*', '>']);
    topic(text)
        && others.iter().all(is_literal_or_star)
        && (*last == ">" || is_literal_or_star(last))
}

/// `*` stands for one token, a last `>` for one or more; the gateway's own topics have to be named.
pub(super) fn matches(pattern: &str, topic: &str) -> bool {
    fn tokens_match(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern, topic) {
            ([], []) | ([">"], [_, ..]) => true,
            ([p, pattern @ ..], [t, topic @ ..]) => {
                (*p == "*" || p == t) && tokens_match(pattern, topic)
            }
            _ => false,
        }
    }
    let (pattern, topic): (Vec<&str>, Vec<&str>) =
        (pattern.split('.').collect(), topic.split('.').collect());
    let is_own = topic.len() > 1 && topic[0] == "vidette";
    (!is_own || pattern[0] == "vidette") && tokens_match(&pattern, &topic)
}

/// A parameter's name or value, byte by byte.
fn decode(text: &str) -> Option<String> {
    let (mut decoded, mut rest) = (Vec::new(), text.as_bytes());
    while let [byte, more @ ..] = rest {
        let hex = more
            .get(..2)
            .filter(|h| *byte == b'%' && h.iter().all(u8::is_ascii_hexdigit));
        let code = hex.and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
        decoded.push(code.unwrap_or(if *byte == b'+' { b' ' } else { *byte }));
        rest = if code.is_some() { &more[2..] } else { more };
    }
    String::from_utf8(decoded).ok()
}

/// The names and values of a query string, when they are UTF-8.
pub(super) fn pairs(query: &str) -> Option<Vec<(String, String)>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|p| p.split_once('=').unwrap_or((p, "")))
        .map(|(n, v)| Some((decode(n)?, decode(v)?)))
        .collect()
}

/// A block of an event stream: its `event:`, its last `id:` and its data.
pub(super) type Block = (String, Option<String>, Option<String>);

/// WHATWG HTML, "Interpreting an event stream", with CR, LF and CRLF as line ends.
pub(super) fn sse(stream: &str) -> Vec<Block> {
    let (mut blocks, mut block) = (Vec::new(), Block::default());
    for line in stream
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .split_terminator('\n')
    {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => blocks.push(std::mem::take(&mut block)),
            "event" => block.0 = value.into(),
            "id" if !value.contains('\0') => block.1 = Some(value.into()),
            "data" => {
                block.2 = Some(
                    block
                        .2
                        .take()
                        .map_or(value.into(), |data| data + "\n" + value),
                )
            }
            _ => {}
        }
    }
    blocks
}
