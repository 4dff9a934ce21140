/* An event as it is sent, and its id. */

/** `{ id, text }`: the JSON object of the wire. `raw` is JSON text that is sent as it is. */
export function wireEvent(event, { clock, random }) {
  const { topic, type, headers, contentType, data, raw } = event;
  const id = event.id ?? uuidv7(clock.wall(), random);
  const isBytes = data instanceof Uint8Array || data instanceof ArrayBuffer;
  const known = { topic, type, id, headers, content_type: contentType };
  const text = JSON.stringify(isBytes ? { ...known, data_base64: base64Of(data) } : known);
  if (isBytes) return { id, text };
  const json = raw ?? JSON.stringify(data ?? null);
  return { id, text: `${text.slice(0, -1)},"data":${json}}` };
}

export const receiptOf = ({ vid, cursor, duplicate = false }) => ({ vid, cursor, duplicate });

/** An id that sorts by its time (RFC 9562). */
export function uuidv7(wallMs = Date.now(), random = Math.random) {
  const hex = (value, digits) => value.toString(16).padStart(digits, "0");
  const bits = (count) => Math.floor(random() * 2 ** count);
  const time = hex(Math.floor(wallMs), 12);
  const variant = hex(0x8000 + bits(14), 4);
  const rest = hex(bits(24), 6) + hex(bits(24), 6);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(bits(12), 3)}-${variant}-${rest}`;
}

function base64Of(data) {
  let text = "";
  for (const byte of new Uint8Array(data)) text += String.fromCharCode(byte);
  return btoa(text);
}
