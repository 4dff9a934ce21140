/* What can end a subscription or a publish. `kind` is for programs, the message for people. */

export class VidetteError extends Error {
  /** @param {string} kind @param {string} message @param {object} [fields] */
  constructor(kind, message, fields) {
    super(message);
    this.name = new.target.name;
    this.kind = kind;
    Object.assign(this, fields);
  }
}

/** Events that the reader has not seen are gone, and it asked to stop then. */
export class GapError extends VidetteError {
  constructor(gap) {
    super("gap", `events after ${gap.requested} cannot be served (${gap.reason})`, { gap });
  }
}

/** The gateway, or something before it, answered with this status. */
export class StatusError extends VidetteError {
  constructor(status, problem, retryAfterMs) {
    super("status", problem?.detail ?? `status ${status}`, { status, problem, retryAfterMs });
  }
}

/** Whether the events have been published is not known; trying again might publish them twice. */
export class OutcomeUnknown extends VidetteError {
  constructor(ids, cause) {
    super("outcome_unknown", "no answer; the events may have been published", {
      ids,
      cause,
    });
  }
}
