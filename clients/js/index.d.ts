/** Types of @vidette/client. */

/** The JSON of an event's data, a string for text, bytes for anything else. */
export type Data = unknown;

export interface BusEvent<T = any> {
  /** Its place in the order of the bus: rising, with holes. */
  readonly vid: number;
  /** "Everything up to here": what to save once this event has been handled. */
  readonly cursor: string;
  readonly topic: string;
  /** When the bus accepted it, RFC 3339. */
  readonly time: string;
  readonly type?: string;
  readonly id?: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Absent for JSON and plain text. */
  readonly contentType?: string;
  /** JSON as a value, text as a string, bytes as Uint8Array. */
  readonly data: T;
  /** The JSON text of the data exactly as it came, for numbers beyond 2^53; undefined for bytes. */
  readonly raw?: string;
  /** The whole object as it came. */
  readonly text: string;
}

/** Events that this reader has not seen are gone. */
export interface Gap {
  /** `expired`: no longer kept; `reset`: another log; `ahead`: beyond the log's end. */
  reason: "expired" | "reset" | "ahead" | (string & {});
  requested: string;
  first: number;
  last: number;
  epoch: string;
}

export type State = "connecting" | "catching-up" | "live" | "waiting" | "closed";

export interface Status {
  state: State;
  /** Why it waits: the reason that the gateway gave ("shutdown", "busy", "behind", "expired"), what
   *  the page is ("offline", "hidden", "frozen"), "tabs" until another tab has answered, or the
   *  message of an error. */
  why?: string;
  /** How long the wait is, from its beginning; undefined where something has to happen first. */
  waitMs?: number;
  transport: "sse" | "poll";
  /** Of the last event that is finished. */
  cursor?: string;
  /** How many vids behind the newest event the last connection began. */
  lag: number;
  reconnects: number;
  gaps: number;
  duplicates: number;
}

/** A value, or a function that is asked at first, after a 401, and when a JWT is about to end. */
export type TokenSource = string | (() => string | Promise<string>);

export interface Store {
  load(): string | undefined | null | Promise<string | undefined | null>;
  save(cursor: string): void | Promise<void>;
}

export interface Clock {
  /** Milliseconds, for measuring; never fall. */
  now(): number;
  /** Milliseconds since 1970. */
  wall(): number;
  /** Calls `run` after `ms`; returns a function that cancels it. */
  after(ms: number, run: () => void, kind: "retry" | "limit"): () => void;
}

type GapPolicy = "continue" | "fail" | "snapshot";

interface CommonOptions {
  token?: TokenSource;
  /** As of fetch: "include" sends cookies to another origin. */
  credentials?: RequestCredentials;
  fetch?: typeof fetch;
  clock?: Clock;
  random?: () => number;
}

export interface SubscribeOptions extends CommonOptions {
  /** Exact topics, or with `*` for one token and a last `>` for the rest; none is all. */
  topic?: string | string[];
  /** A cursor, `"earliest"` or `"latest"` (the default). */
  after?: string;
  /** An RFC 3339 time, or a duration as `"15m"`. */
  since?: string;
  /** The newest event of each topic first. At most one of after, since and snapshot. */
  snapshot?: boolean;
  /** What follows a gap, which is reported in any case; a function may return a policy. */
  onGap?: GapPolicy | ((gap: Gap) => void | GapPolicy | Promise<void | GapPolicy>);
  /** Keeps the cursor: under this name in localStorage, or where one likes. */
  persist?: string | Store;
  /** "shared", the default in browsers: all tabs have one connection. "leader": and only one of
   *  them runs handlers. "own" is the default in Node. */
  tabs?: "own" | "shared" | "leader";
  /** Milliseconds after which a hidden page gives its connection up; never by default. */
  pauseHidden?: number;
  transport?: "auto" | "sse" | "poll";
  /** Milliseconds without anything read after which reading fails; never by default. */
  maxElapsed?: number;
  /** The gateway's limits.max_event_bytes, by default the largest that can be set, 3 MiB. */
  maxEventBytes?: number;
  /** Milliseconds of long-poll until SSE is tried again, as a poll ends; 10 minutes by default. */
  sseAgainMs?: number;
  log?: (level: "debug" | "warn" | "error", text: string) => void;
}

interface OwnEvents {
  event: CustomEvent<BusEvent>;
  gap: CustomEvent<Gap>;
  state: CustomEvent<Status>;
  caughtup: CustomEvent<{ cursor?: string }>;
  error: CustomEvent<Error>;
}

/** What a listener returns is waited for, before the next event is read. */
type Listener<E> = ((event: E) => unknown) | { handleEvent(event: E): unknown } | null;

export class Subscription extends EventTarget implements AsyncIterable<BusEvent> {
  readonly cursor?: string;
  readonly state: State;
  readonly status: Status;
  /** Resolves when the live end has been reached and all before it has been handled. */
  readonly caughtUp: Promise<void>;
  start(): void;
  /** Ends at once; an event that is not finished does not move the cursor. */
  close(): void;
  [Symbol.asyncIterator](): AsyncIterator<BusEvent, undefined>;
  addEventListener<K extends keyof OwnEvents>(
    type: K,
    listener: Listener<OwnEvents[K]>,
    options?: AddEventListenerOptions | boolean,
  ): void;
  addEventListener(
    type: string,
    listener: Listener<CustomEvent<BusEvent>>,
    options?: AddEventListenerOptions | boolean,
  ): void;
  removeEventListener(
    type: string,
    listener: Listener<any>,
    options?: EventListenerOptions | boolean,
  ): void;
}

/** Nothing is read before the iterator or a listener is used. */
export function subscribe(url: string | URL, options?: SubscribeOptions): Subscription;

export interface NewEvent {
  topic: string;
  /** Any JSON value, or bytes. */
  data?: unknown;
  /** JSON text that is sent as it is, in place of data. */
  raw?: string;
  type?: string;
  /** Makes publishing again harmless; a UUIDv7 by default. */
  id?: string;
  headers?: Record<string, string>;
  contentType?: string;
}

export interface Receipt {
  vid: number;
  cursor: string;
  /** An event with this id was known already; this is its vid. */
  duplicate: boolean;
}

export interface PublishOptions extends CommonOptions {
  /** How long to try again: the gateway's dedupe window less ten seconds, by default 110,000 ms. */
  windowMs?: number;
}

/** Publishes one event; resolves once it is durable. */
export function publish(
  url: string | URL,
  event: NewEvent,
  options?: PublishOptions,
): Promise<Receipt>;
/** Publishes an atomic batch. */
export function publish(
  url: string | URL,
  events: NewEvent[],
  options?: PublishOptions,
): Promise<Receipt[]>;

export class Publisher {
  constructor(url: string | URL, options?: PublishOptions);
  publish(event: NewEvent): Promise<Receipt>;
  publish(events: NewEvent[]): Promise<Receipt[]>;
  /** Ends what is under way; its outcome is unknown. */
  close(): void;
}

export class EventStream {
  constructor(publisher: Publisher);
  /** Resolves with the receipt; events are sent in the order of the calls. */
  send(event: NewEvent): Promise<Receipt>;
  /** Resolves when all that has been sent is answered. */
  close(): Promise<void>;
}

export function uuidv7(wallMs?: number, random?: () => number): string;

export class VidetteError extends Error {
  readonly kind: string;
}
export class GapError extends VidetteError {
  readonly gap: Gap;
}
export class StatusError extends VidetteError {
  readonly status: number;
  /** The problem (RFC 9457) of the answer, where it had one. */
  readonly problem?: { type: string; title: string; status: number; detail: string };
}
/** Whether the events have been published is not known; `ids` are theirs. */
export class OutcomeUnknown extends VidetteError {
  readonly ids: string[];
}
