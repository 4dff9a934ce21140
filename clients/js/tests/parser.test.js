/* Rules 9, 10 and 12: bytes in, events out. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { BusEvent } from "../src/event.js";
import { memberOf, partsOf } from "../src/json-text.js";
import { SseParser } from "../src/sse-parser.js";

const bytes = (text) => new TextEncoder().encode(text);

function parse(text, sizes = [Infinity], longest = 1e6) {
  const parser = new SseParser(longest);
  const all = bytes(text);
  const blocks = [];
  for (let at = 0, n = 0; at < all.length; n += 1) {
    const size = sizes[n % sizes.length];
    blocks.push(...parser.push(all.subarray(at, at + size)));
    at += size;
  }
  return blocks;
}

const STREAM =
  "\uFEFF: comment\r\nid: 1-e\rdata: 門🚪\r\ndata:two\n\nretry: 20\r\r" +
  "id: 2-e\r\n\r\nevent: x\ndata\n\nnot: known\n\n";
const BLOCKS = [
  { id: "1-e", data: "門🚪\ntwo" },
  { retry: 20 },
  { id: "2-e" },
  { event: "x", data: "" },
];

test("rule 10: line ends, a byte order mark, comments, and bytes split anywhere", () => {
  for (const sizes of [[Infinity], [1], [2], [3], [5, 1, 7]])
    assert.deepEqual(parse(STREAM, sizes), BLOCKS);
});

test("rule 10: a later byte order mark belongs to the data", () => {
  assert.deepEqual(parse("data: a\n\ndata:\uFEFFb\n\n", [1]), [{ data: "a" }, { data: "\uFEFFb" }]);
});

test("rule 10: an id with NUL and a retry that is no number are ignored; the last incomplete block is dropped", () => {
  assert.deepEqual(parse("id: 1\0\nretry: 1s\ndata: a\n\ndata: b\n"), [{ data: "a" }]);
});

test("rule 9: a block beyond the bound is an error, in one line and in many", () => {
  assert.equal(parse(`data: ${"x".repeat(94)}\n\n`, [7], 100).length, 1);
  assert.throws(() => parse(`data: ${"x".repeat(95)}\n\n`, [7], 100), { kind: "too_large" });
  assert.throws(() => parse("data: 123456789\n".repeat(9), [Infinity], 100), { kind: "too_large" });
  assert.equal(parse(": comment\n".repeat(1000), [64], 100).length, 0);
});

test("rule 9: an event of 3 MiB in small pieces", () => {
  const [block] = parse(`data: "${"y".repeat(3 * 2 ** 20)}"\n\n`, [16_384], 5e6);
  assert.equal(block.data.length, 3 * 2 ** 20 + 2);
});

test("rule 12: JSON is a value and its text, text a string, bytes are bytes", () => {
  const number = `{"n":${"1234567890".repeat(3)}, "s":"a\\"}]\\\\"}`;
  const json = new BusEvent(
    `{"vid":1, "topic":"a", "headers":{"data":"no"}, "data": ${number} , "later":[1]}`,
    "1-e",
  );
  assert.equal(json.raw, number);
  assert.equal(json.data.s, 'a"}]\\');
  assert.deepEqual([json.vid, json.cursor, json.headers], [1, "1-e", { data: "no" }]);

  const text = new BusEvent('{"vid":2,"topic":"a","data":"plain"}');
  assert.deepEqual([text.data, text.raw], ["plain", '"plain"']);
  const binary = new BusEvent(
    '{"vid":3,"topic":"a","content_type":"image/png","data_base64":"AQL/"}',
    "3-e",
  );
  assert.deepEqual(
    [[...binary.data], binary.raw, binary.contentType],
    [[1, 2, 255], undefined, "image/png"],
  );
});

test("rule 12: parts of a JSON text are found whatever is in its strings", () => {
  const text = '{ "a" : [1, {"b":"],\\\\"}] ,"c\\n":"}" , "d":-1.50e3 }';
  assert.deepEqual(
    ["a", "c\n", "d", "1"].map((name) => memberOf(text, name)),
    ['[1, {"b":"],\\\\"}]', '"}"', "-1.50e3", undefined],
  );
  assert.deepEqual([...partsOf('[1, {"b":"],\\\\"}, [ ] ]')], ["1", '{"b":"],\\\\"}', "[ ]"]);
  assert.deepEqual([...partsOf("[ ]")], []);
  assert.deepEqual([...partsOf("{}")], []);
});
