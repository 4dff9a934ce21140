/* The text of a part of a JSON text, unchanged: a parsed number beyond 2^53 has lost its digits.
 * The text is valid JSON; it has been, or will be, parsed as well. */

/** The texts of the elements of an array; of an object those of its names and values in turn. */
export function* partsOf(text) {
  let depth = 0;
  let from = 0;
  let isString = false;
  for (let at = 0; at < text.length; at += 1) {
    const c = text[at];
    if (isString) {
      if (c === "\\") at += 1;
      isString = c !== '"';
      continue;
    }
    isString = c === '"';
    const opens = c === "{" || c === "[";
    const closes = c === "}" || c === "]";
    if (closes) depth -= 1;
    if (closes ? depth === 0 : depth === 1 && (c === "," || c === ":")) {
      const part = text.slice(from, at).trim();
      from = at + 1;
      if (part) yield part;
    }
    if (opens && depth++ === 0) from = at + 1;
  }
}

/** The text of the value of this name. */
export function memberOf(text, name) {
  const parts = [...partsOf(text)];
  const at = parts.findIndex((part, at) => at % 2 === 0 && JSON.parse(part) === name);
  return at < 0 ? undefined : parts[at + 1];
}
