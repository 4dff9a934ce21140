/* One connection for all tabs of a browser that read the same.
 *
 * The tab that holds a Web Lock leads: it alone connects, and repeats what it reads on a
 * BroadcastChannel. The browser frees the lock when a tab dies.
 *
 * Invariants:
 * - each tab has a position of its own. What it hears is taken only if it joins on there; else the
 *   tab fetches what is between by polls. So nothing is lost when the leader changes;
 * - a tab that hears nothing for 2.5 heartbeats takes the lock, whoever holds it;
 * - at most one tab leads, but for a moment in which the lock is taken; rule 3 drops what then
 *   comes twice. */

import { epochOf, vidOf } from "./cursor.js";
import { BusEvent } from "./event.js";
import { loadPolls } from "./lazy.js";
import { Link } from "./link.js";
import { claimsOf } from "./token.js";
import { Watch } from "./watch.js";

/** Until the leader has named that of the gateway. */
const HEARTBEAT_MS = 15_000;
const HEARTBEATS = 2.5;
/** A leader answers whoever joins at once. */
const ANSWER_MS = 5000;
/** Who goes from tab to tab takes no connection along. */
const LEAST_LEAD_MS = 15_000;

/** `cursor()` gives the one to save. Gives undefined where a browser has no such locks, or nobody
 *  knows who reads. */
export async function joinTabs(options, reader, cursor) {
  const locks = globalThis.navigator?.locks;
  if (!locks || !globalThis.BroadcastChannel) return undefined;
  try {
    const token = await reader.token.get(options.clock.wall());
    const { url, topics } = options;
    const name = `vidette:${JSON.stringify([`${url}`, [...topics].sort(), subjectOf(token)])}`;
    return new Tabs({ options, reader, cursor }, locks, name);
  } catch {
    return undefined;
  }
}

class Tabs {
  #tab;
  #locks;
  #name;
  #channel;
  #watch;
  #isLeader = false;
  #ledSince;
  #isCatchingUp = false;
  #isBehindGap = false;
  #yieldLock = () => {};
  #cancelAlive = () => {};
  #parting; // aborted while this tab takes no part
  #link;

  constructor(tab, locks, name) {
    this.#tab = tab;
    this.#locks = locks;
    this.#name = name;
    this.#watch = new Watch(tab.options.clock, (why) => this.#takeLock(why));
    globalThis.document?.addEventListener("visibilitychange", this.#onVisibility);
    this.join();
  }

  /** Begins to follow, or to lead where nobody does, unless the page stands still. */
  join() {
    if (this.#takesPart || this.#tab.reader.isHeld) return;
    this.#parting = new AbortController();
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#heard(data);
    this.#beginToFollow();
    this.#say({ kind: "join" });
  }

  /** Until `join`: a page that stands still would keep the lock, and say nothing. */
  part() {
    if (!this.#takesPart) return;
    this.#parting.abort();
    this.#stopLeading();
    this.#watch.stop();
    this.#link?.cut("closed");
    this.#channel.close();
    this.#tab.reader.release("tabs");
  }

  leave() {
    this.part();
    globalThis.document?.removeEventListener("visibilitychange", this.#onVisibility);
  }

  get #takesPart() {
    return this.#parting?.signal.aborted === false;
  }

  /** The reader of this tab has brought this step, from this position. */
  brought({ event, caughtUp, progress, gap }, before) {
    if (gap) this.#isBehindGap = true;
    const to = this.#tab.reader.sequence.position;
    if (!this.#isLeader || (!event && !caughtUp && !progress)) return;
    // Timers of a hidden tab come late; heartbeats of the gateway do not.
    if (progress && before === to) this.#sayAlive();
    if (before === to && !caughtUp) return;

    // A gap lies between: every tab gets its own from the gateway.
    const from = this.#isBehindGap ? undefined : before;
    this.#isBehindGap = false;
    this.#say({ kind: "step", from, to, text: event?.text, isEnd: Boolean(caughtUp) });
  }

  #say(message) {
    const { heartbeatMs } = this.#tab.reader;
    if (this.#takesPart)
      this.#channel.postMessage({ heartbeatMs, ...message, saved: this.#tab.cursor() });
  }

  #beginToFollow() {
    this.#tab.reader.hold("tabs");
    this.#watch.set(ANSWER_MS, "silence");
    this.#request({ signal: this.#parting.signal });
  }

  #request(options) {
    const lead = () => new Promise((resolve) => this.#lead(resolve));
    this.#locks.request(this.#name, options, lead).catch(() => this.#lost());
  }

  /** Another tab has taken the lock. */
  #lost() {
    if (!this.#isLeader) return;
    this.#stopLeading();
    this.#beginToFollow();
  }

  #lead(yieldLock) {
    if (this.#isLeader || !this.#takesPart) return yieldLock();
    this.#yieldLock = yieldLock;
    this.#isLeader = true;
    this.#ledSince = this.#tab.options.clock.now();
    this.#link?.cut("tabs");
    this.#watch.stop();
    this.#sayAlive();
    return this.#tab.reader.release("tabs");
  }

  #stopLeading() {
    this.#isLeader = false;
    this.#cancelAlive();
    this.#yieldLock();
  }

  /** From a leader that says nothing. Of several tabs that do so the last one leads. */
  #takeLock(why) {
    this.#tab.options.log("warn", `this tab takes the lead: ${why}`);
    this.#request({ steal: true });
  }

  /** For a tab that somebody sees, where nobody sees this one. */
  #makeWay() {
    const ledMs = this.#tab.options.clock.now() - this.#ledSince;
    if (!isHidden() || ledMs < LEAST_LEAD_MS) return;
    this.#stopLeading();
    this.#beginToFollow();
  }

  #sayAlive() {
    const { clock } = this.#tab.options;
    const { heartbeatMs = HEARTBEAT_MS } = this.#tab.reader;
    this.#cancelAlive();
    this.#say({ kind: "alive", to: this.#tab.reader.sequence.position, isHidden: isHidden() });
    this.#cancelAlive = clock.after(heartbeatMs, () => this.#sayAlive(), "limit");
  }

  #onVisibility = () => {
    if (!isHidden() && !this.#isLeader) this.#say({ kind: "visible" });
  };

  #heard(message) {
    if (!this.#takesPart) return;
    if (this.#isLeader) {
      if (message.kind === "join") this.#sayAlive();
      if (message.kind === "visible") this.#makeWay();
      return;
    }
    if (message.kind !== "alive" && message.kind !== "step") return;
    this.#watch.set(HEARTBEATS * (message.heartbeatMs ?? HEARTBEAT_MS), "silence");
    if (message.isHidden) this.#onVisibility();
    if (this.#tab.options.tabs === "leader") this.#remember(message);
    else this.#follow(message);
  }

  /** Where handlers run in the leading tab only, the others keep the place. */
  #remember({ saved }) {
    if (saved) this.#tab.reader.sequence.startAt(saved);
  }

  #follow({ kind, from, to, text, isEnd }) {
    const { reader } = this.#tab;
    const { sequence, queue } = reader;
    if (this.#isCatchingUp) return;
    const joinsOn = kind === "step" ? from : to;
    const isSameLog = joinsOn && epochOf(joinsOn) === epochOf(to);
    if (!isSameLog || queue.isFull || !covers(sequence.position, joinsOn)) {
      this.#catchUp();
      return;
    }
    if (text && vidOf(to) > vidOf(sequence.position)) {
      reader.step({ event: new BusEvent(text, to), length: text.length });
    } else if (kind === "step") {
      reader.step(isEnd ? { caughtUp: to } : { progress: to });
    }
    reader.showLive();
  }

  /** Fetches what is between this tab's position and the live end. */
  async #catchUp() {
    const { options, reader } = this.#tab;
    const { sequence, token, queue } = reader;
    const { signal } = this.#parting;
    this.#isCatchingUp = true;
    try {
      for (let isUpToDate = false; !isUpToDate;) {
        await queue.room();
        const { poll } = await loadPolls();
        this.#link = new Link(options, sequence);
        this.#link.token = await token.get(options.clock.wall());
        const answer = await poll(this.#link, 0).finally(() => this.#link.end());
        for (const one of answer.steps) {
          if (one.hello) sequence.hello(one.hello);
          else reader.step(one);
        }
        isUpToDate = answer.isUpToDate;
      }
      reader.showLive();
    } catch (error) {
      // The reader knows which errors are final, and how long to wait after the others.
      if (!this.#isLeader && !signal.aborted) this.#takeLock(error.message);
    }
    this.#isCatchingUp = false;
  }
}

/** Is everything up to `cursor` behind this position, in the same log? */
function covers(position, cursor) {
  if (!position || epochOf(position) !== epochOf(cursor)) return false;
  return vidOf(position) >= vidOf(cursor);
}

const isHidden = () => globalThis.document?.visibilityState === "hidden";

/** Tabs of different people share nothing; a token itself is in no name. */
function subjectOf(token) {
  return token ? (claimsOf(token)?.sub ?? hashOf(token)) : "";
}

function hashOf(text) {
  let hash = 0;
  for (const c of text) hash = (Math.imul(hash, 31) + c.codePointAt(0)) | 0;
  return hash;
}
