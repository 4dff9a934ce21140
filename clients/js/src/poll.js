/* Long-poll, as steps of a subscription: the way around proxies that hold a stream back. */

import { VidetteError } from "./errors.js";
import { BusEvent } from "./event.js";
import { memberOf, partsOf } from "./json-text.js";

const WAIT_S = 25;
const SLACK_MS = 10_000;
const EARLY_MS = 1000;

/** Polls until one fails; the next begins once the steps of the last have been taken. */
export async function* openPolls(link) {
  for (let early = 0; early < 2;) {
    const began = link.clock.now();
    const answer = await poll(link, WAIT_S);
    link.openedAt ??= link.clock.now();
    yield answer.steps;
    // Empty answers that come at once would make this a loop without any wait.
    const isEarly = !answer.hasNews && link.clock.now() - began < EARLY_MS;
    early = isEarly ? early + 1 : 0;
  }
  throw new VidetteError("passing", "polls are answered early, without anything new");
}

/** One poll: `{ steps, cursor, isUpToDate, hasNews }`. */
export async function poll(link, waitS) {
  link.watch.set(waitS * 1000 + SLACK_MS, "no answer");
  const response = await link.get("v1/poll", "json", { wait: waitS });
  const text = await readText(link, response);
  link.watch.stop();
  try {
    return answerOf(text);
  } catch {
    throw new VidetteError("content_type", "the answer is no page of events");
  }
}

function answerOf(text) {
  const { epoch, first, last, filter, cursor, gap, up_to_date: isUpToDate } = JSON.parse(text);
  const events = [...partsOf(memberOf(text, "events") ?? "")].map((one) => ({
    event: new BusEvent(one),
    length: one.length,
  }));
  if (!cursor || events.some(({ event }) => !Number.isSafeInteger(event.vid)))
    throw new TypeError();

  const steps = [{ hello: { epoch, first, last, filter } }];
  if (gap) steps.push({ gap });
  steps.push(...events, isUpToDate ? { caughtUp: cursor } : { progress: cursor });
  return { steps, cursor, isUpToDate, hasNews: events.length > 0 || Boolean(gap) };
}

async function readText(link, response) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of link.chunks(response)) {
    text += decoder.decode(bytes, { stream: true });
    if (text.length > 2 * link.longestEvent) {
      throw new VidetteError("too_large", "the answer of a poll is longer than any page of events");
    }
  }
  return text + decoder.decode();
}
