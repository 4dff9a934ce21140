/* An event as it is sent, and its id. */

/** `{ id, text }`: the JSON object of the wire. `raw` is JSON text that is sent as it is. */
export function wireEvent(event, { clock, random }) {
  const { topic, type, headers, contentType, data, raw } = event;
  const id = event.id ?? uuidv7(clock.wall(), random);
  const isBytes = data instanceof Uint8Array || data instanceof ArrayBuffer;
  const known = { topic, type, id, headers, content_type: contentType };
  const content = isBytes
    ? `"data_base64":"${base64Of(data)}"`
    : `"data":${raw ?? JSON.stringify(data ?? null)}`;
  return { id, text: `${JSON.stringify(known).slice(0, -1)},${content}}` };
}

export const receiptOf = ({ vid, cursor, duplicate = false }) => ({ vid, cursor, duplicate });

/** An id that sorts by its time (RFC 9562). */
export function uuidv7(wallMs = Date.now(), random = Math.random) {
  const hex = (value, digits) => Math.floor(value).toString(16).padStart(digits, "0");
  const time = `${hex(wallMs / 0x10000, 8)}-${hex(wallMs % 0x10000, 4)}`;
  const variant = hex(0x8000 + random() * 0x4000, 4);
  return `${time}-7${hex(random() * 0x1000, 3)}-${variant}-${hex(random() * 2 ** 48, 12)}`;
}

function base64Of(data) {
  let text = "";
  for (const byte of new Uint8Array(data)) text += String.fromCharCode(byte);
  return btoa(text);
}
