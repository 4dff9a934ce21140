/* The text of a part of a JSON text, unchanged: a parsed number beyond 2^53 has lost its digits.
 * The text is valid JSON; it has been, or will be, parsed as well. */

/** The members of an object, as [name, text of the value]. */
export function* members(text) {
  for (let at = skipSpace(text, text.indexOf("{") + 1); text[at] === '"';) {
    const nameEnd = endOfString(text, at);
    const from = skipSpace(text, text.indexOf(":", nameEnd) + 1);
    const to = endOfValue(text, from);
    yield [JSON.parse(text.slice(at, nameEnd)), text.slice(from, to).trimEnd()];
    at = skipSpace(text, to + 1);
  }
}

/** The texts of the elements of an array. */
export function* elements(text) {
  let at = skipSpace(text, text.indexOf("[") + 1);
  while (at < text.length && text[at] !== "]") {
    const to = endOfValue(text, at);
    yield text.slice(at, to).trimEnd();
    at = skipSpace(text, to + 1);
  }
}

function skipSpace(text, at) {
  while (" \t\n\r".includes(text[at] ?? "x")) at += 1;
  return at;
}

/** Where the comma or bracket behind the value is. */
function endOfValue(text, at) {
  for (let depth = 0; at < text.length; at += 1) {
    const c = text[at];
    if (c === '"') at = endOfString(text, at) - 1;
    else if (c === "{" || c === "[") depth += 1;
    else if (depth === 0 && (c === "," || c === "}" || c === "]")) return at;
    else if (c === "}" || c === "]") depth -= 1;
  }
  return at;
}

/** Behind the closing quote. */
function endOfString(text, open) {
  for (let end = text.indexOf('"', open + 1); end > 0; end = text.indexOf('"', end + 1)) {
    let back = end;
    while (text[back - 1] === "\\") back -= 1;
    if ((end - back) % 2 === 0) return end + 1;
  }
  return text.length;
}
