/* Where a subscription stands, and what of what comes is new. No input or output of its own.
 *
 * Invariants:
 * - a position once known is never left for an earlier or a vaguer one, but for a gap's sake;
 * - an event at or below the last one is dropped and counted, never given twice;
 * - an event of another epoch than the connection has named is an error of the server. */

import { cursorOf, epochOf, isCursor, vidOf } from "./cursor.js";
import { VidetteError } from "./errors.js";

export class Sequence {
  position; // the cursor to resume from, once one is known
  duplicates = 0;
  gaps = 0;
  #start;
  #lastVid = -1; // of the newest event given
  #lastEpoch;
  #epoch; // that the connection has named
  #vidAtGap = -1;
  #foreign = 0; // connections in a row that broke the rule of epochs

  constructor({ after, since, snapshot }) {
    if ([after, since, snapshot].filter(Boolean).length > 1) {
      throw new TypeError("more than one of after, since and snapshot; choose one");
    }
    this.#start = snapshot
      ? { snapshot: "true" }
      : since
        ? { since }
        : { after: after ?? "latest" };
    this.startAt(after);
  }

  /** Starts at this cursor, if it is one. */
  startAt(cursor) {
    if (!isCursor(cursor) || cursor === "0") return;
    this.position = cursor;
    this.#lastVid = vidOf(cursor);
    this.#lastEpoch = epochOf(cursor);
  }

  /** The parameters that say where the next request begins. */
  query() {
    return this.position ? { after: this.position } : this.#start;
  }

  hello({ epoch, last }) {
    this.#epoch = epoch;
    // "From now on" is the end that the log has now, also if the connection breaks at once.
    if (!this.position && this.#start.after === "latest") this.position = cursorOf(last, epoch);
  }

  /** Is this event to be given to the application? */
  event({ vid, cursor }) {
    this.#checkEpoch(vid, epochOf(cursor));
    if (vid <= this.#lastVid) {
      this.duplicates += 1;
      return false;
    }
    this.#lastVid = vid;
    this.#lastEpoch = this.#epoch;
    this.#foreign = 0;
    this.position = cursor;
    return true;
  }

  /** The position moves without an event. Says whether it did: it never moves back. */
  moved(cursor) {
    if (!isCursor(cursor) || vidOf(cursor) < this.#lastVid) return false;
    this.#lastVid = vidOf(cursor);
    this.#lastEpoch = epochOf(cursor) ?? this.#epoch;
    this.position = cursor;
    return true;
  }

  gap(gap) {
    this.gaps += 1;
    this.#epoch = gap.epoch ?? this.#epoch;
    // Behind a gap vids may be lower than before it.
    if (gap.reason === "ahead") this.#lastVid = Math.min(this.#lastVid, gap.last);
    if (gap.reason === "reset" || !this.#isSameLog()) this.#lastVid = -1;
    this.#lastEpoch = this.#epoch;
    this.#vidAtGap = this.#lastVid;
  }

  /** After a gap the state of all topics is asked for anew; what came since then comes again. */
  beginWithSnapshot() {
    this.position = undefined;
    this.#lastVid = this.#vidAtGap;
    this.#start = { snapshot: "true" };
  }

  #isSameLog() {
    return this.#lastEpoch === undefined || this.#lastEpoch === this.#epoch;
  }

  #checkEpoch(vid, epoch) {
    // A log that continues from a copy has a new name and goes on upwards. A lower vid under
    // another name is another log, which is a gap that was not told.
    const named = epoch === undefined || this.#epoch === undefined || epoch === this.#epoch;
    if (named && (this.#isSameLog() || vid > this.#lastVid)) return;
    this.#foreign += 1;
    const kind = this.#foreign > 1 ? "protocol" : "passing";
    throw new VidetteError(kind, `event ${vid} is of log ${epoch}, without a gap before it`);
  }
}
