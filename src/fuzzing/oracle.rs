//! What the contract says, read a second time: naive, and without any code of the gateway.

/// Reads a cursor by the letter of contract §3.
pub(super) fn cursor(text: &str) -> Option<(u64, Option<&str>)> {
    // Clients may leave the epoch out; then the vid alone says where to resume.
    let Some((digits, epoch)) = text.split_once('-') else {
        return Some((vid(text)?, None));
    };
    is_epoch(epoch).then_some((vid(digits)?, Some(epoch)))
}

fn vid(digits: &str) -> Option<u64> {
    // Leading zeros are allowed, but not a text of any length.
    let is_short = (1..=20).contains(&digits.len());
    let vid = digits.parse().ok()?;
    (is_short && is_number(digits) && vid < 1 << 53).then_some(vid)
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_epoch(text: &str) -> bool {
    let is_allowed = |letter| matches!(letter, 'a'..='z' | '0'..='9');
    (6..=16).contains(&text.len()) && text.chars().all(is_allowed)
}

/// Contract §1, but for wildcards and the gateway's own topics.
pub(super) fn topic(text: &str) -> bool {
    let are_full = text.split('.').all(|token| !token.is_empty());
    let is_short = text.len() <= 255 && text.split('.').count() <= 16;
    are_full && is_short && !text.chars().any(is_bad)
}

fn is_bad(letter: char) -> bool {
    letter.is_whitespace() || letter.is_control()
}

/// A topic of a filter: wildcards are whole tokens, `>` is the last.
pub(super) fn pattern(text: &str) -> bool {
    // Only the last token may be a `>`.
    let tokens = text.strip_suffix(".>").unwrap_or(text);
    topic(text) && (text == ">" || tokens.split('.').all(is_literal_or_star))
}

fn is_literal_or_star(token: &str) -> bool {
    token == "*" || !token.contains(['*', '>'])
}

/// `*` stands for one token, a last `>` for one or more; the gateway's own topics have to be named.
pub(super) fn matches(pattern: &str, topic: &str) -> bool {
    let (pattern, topic) = (tokens(pattern), tokens(topic));
    // `vidette` by itself is free for publishers: the names below it are reserved.
    let is_own = topic.len() > 1 && topic[0] == "vidette";
    (!is_own || pattern[0] == "vidette") && tokens_match(&pattern, &topic)
}

fn tokens(text: &str) -> Vec<&str> {
    text.split('.').collect()
}

fn tokens_match(pattern: &[&str], topic: &[&str]) -> bool {
    match (pattern, topic) {
        ([], []) | ([">"], [_, ..]) => true,
        ([wanted, pattern @ ..], [token, topic @ ..]) => {
            (*wanted == "*" || wanted == token) && tokens_match(pattern, topic)
        }
        _ => false,
    }
}

/// The names and values of a query string, when they are UTF-8.
pub(super) fn pairs(query: &str) -> Option<Vec<(String, String)>> {
    // A stray `&`, doubled or at an end, names no parameter.
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(pair).collect()
}

fn pair(text: &str) -> Option<(String, String)> {
    // A name without `=` is a parameter with an empty value.
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    Some((decode(name)?, decode(value)?))
}

/// A parameter's name or value, byte by byte.
fn decode(text: &str) -> Option<String> {
    let (mut decoded, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((byte, more)) = decode_byte(rest) {
        decoded.push(byte);
        rest = more;
    }

    // Only the whole can be judged: a character may be spread over several escapes.
    String::from_utf8(decoded).ok()
}

fn decode_byte(text: &[u8]) -> Option<(u8, &[u8])> {
    let (first, more) = text.split_first()?;
    // A `%` without two digits behind it stands for itself.
    match (first, escaped(more)) {
        (b'%', Some(byte)) => Some((byte, &more[2..])),
        (b'+', _) => Some((b' ', more)),
        (byte, _) => Some((*byte, more)),
    }
}

/// The byte that two hexadecimal digits behind a `%` stand for.
fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// A block of an event stream: its `event:`, its last `id:` and its data.
pub(super) type StreamBlock = (String, Option<String>, Option<String>);

/// WHATWG HTML, "Interpreting an event stream", with CR, LF and CRLF as line ends.
pub(super) fn sse(stream: &str) -> Vec<StreamBlock> {
    let stream = with_lf(stream);
    let (mut blocks, mut block) = (Vec::new(), StreamBlock::default());
    for line in stream.split_terminator('\n') {
        // An empty line ends a block; one that the stream breaks off in does not count.
        if line.is_empty() {
            blocks.push(std::mem::take(&mut block));
        } else {
            take_line(&mut block, line);
        }
    }
    blocks
}

/// A text with LF for every end of a line.
pub(super) fn with_lf(text: &str) -> String {
    // CRLF first, or it would become two ends of a line.
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn take_line((event, id, data): &mut StreamBlock, line: &str) {
    // One space behind the colon is not part of the value.
    let (field, value) = line.split_once(':').unwrap_or((line, ""));
    let value = value.strip_prefix(' ').unwrap_or(value);

    // A comment has an empty field name, so it is ignored like any unknown field.
    match field {
        "event" => *event = value.into(),
        // The standard has an id with a NUL ignored.
        "id" if !value.contains('\0') => *id = Some(value.into()),
        "data" => push_line(data, value),
        _ => {}
    }
}

/// Further lines of the data are joined with LF.
fn push_line(data: &mut Option<String>, line: &str) {
    *data = Some(match data {
        Some(before) => format!("{before}\n{line}"),
        None => line.to_owned(),
    });
}
