/* Two readers of Server-Sent Events with one interface, the same that ../longpoll/comet.js has:
 *
 *   const reader = new SourceReader('/v1/sse', listener, ['opened', 'refused']);
 *   reader.start('topic=door.*', 'after=earliest');    // filter, and where to begin
 *   reader.pause();  reader.resume();                  // continues after the last cursor
 *
 * SourceReader uses the browser's EventSource: no code on the wire, but an event that has a type reaches only listeners
 * of that very type, so it shows events of the types given to it and those without a type. StreamReader reads the
 * body of a fetch() and sees every block: all types, and the blocks that bring only an id.
 *
 * Where the gateway asks who reads, StreamReader sends what `reader.token` gives, a function that is called for each
 * connection: reader.token = async () => (await fetch('/session/token')).text();
 * An EventSource sends no headers of its own: SourceReader's token is in a cookie, or in the filter as the parameter
 * that the gateway is configured for.
 *
 * The listener has state(name, detail, waitMs), hello(hello), event(event), gap(gap), cursor(text) and caughtUp(); hello
 * may be left out. States: connecting, catching-up, live, waiting (for the next try, in waitMs), paused, stopped. */

const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 15000;
const HEARTBEAT_MS = 15000;                  // until hello has the gateway's own
const FINAL = new Set([400, 401, 403, 410]); // trying again as it is would not help

const FAREWELLS = {
  shutdown: 'The gateway is shutting down.',
  busy: 'The gateway has no capacity for another reader now.',
  behind: 'The gateway cannot reach its log.',
  expired: 'The token has expired.',
};

/** What both share: the reader's position, when it retries, and what the blocks mean. */
class Reader {
  constructor(url, listener) {
    Object.assign(this, { url, listener, running: false, filter: '', begin: '', cursor: '' });
    this.failures = 0;     // in a row
    this.retryMs = 0;      // a least wait that the gateway asked for
    this.farewell = '';    // why the gateway ends the stream, once it has sent closing
    this.timer = null;
    this.token = null;     // a function that gives the token to send, or a promise of it
  }

  start(filter, begin) {
    Object.assign(this, { filter, begin, cursor: '' });
    this.resume();
  }

  resume() {
    this.hangUp();
    Object.assign(this, { running: true, failures: 0, retryMs: 0 });
    this.connect();
  }

  pause() {
    this.end('paused');
  }

  end(state, detail = '') {
    this.hangUp();
    this.running = false;
    this.listener.state(state, detail);
  }

  hangUp() {
    clearTimeout(this.timer);
    this.disconnect();
  }

  /** The filter stays; where to begin gives way to the cursor as soon as there is one. */
  query() {
    const from = this.cursor ? `after=${encodeURIComponent(this.cursor)}` : this.begin;
    return [this.filter, from].filter(Boolean).join('&');
  }

  opened() {
    this.failures = 0;
    this.farewell = '';
    this.listener.state('catching-up', '');
  }

  /** Waits 1 s, 2 s, 4 s … 15 s, each shortened by chance so that many pages do not come back at once. */
  failed(message) {
    if (!this.running) return;
    this.hangUp();
    const least = Math.max(this.retryMs, RETRY_MIN_MS / 2);
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** this.failures);
    const delayMs = least + Math.random() * Math.max(ceiling - RETRY_MIN_MS / 2, 0);
    this.failures += 1;
    this.retryMs = 0;
    this.listener.state('waiting', message, delayMs);
    this.timer = setTimeout(() => this.connect(), delayMs);
  }

  /** A bad status: final, or to be retried no sooner than Retry-After says. No response: not reached. */
  refused(response, problem) {
    if (response && FINAL.has(response.status)) return this.end('stopped', problem);
    if (response) this.retryMs = 1000 * (parseInt(response.headers.get('Retry-After'), 10) || 0);
    return this.failed(problem);
  }

  /** One block. The cursor moves last: only what the listener has handled counts as read. */
  take(type, data, id) {
    if (type === 'vidette.hello') this.hello(JSON.parse(data));
    else if (type === 'vidette.gap') this.listener.gap(JSON.parse(data));
    else if (type === 'vidette.closing') this.closing(JSON.parse(data));
    else if (type === 'vidette.caught_up') this.caughtUp(JSON.parse(data));
    else if (data !== '' && !type.startsWith('vidette.')) this.listener.event(JSON.parse(data));
    if (id) this.moved(id);
  }

  hello(hello) {
    this.heartbeatMs = hello.heartbeat_ms;
    if (this.listener.hello) this.listener.hello(hello);
  }

  caughtUp({ cursor }) {
    this.listener.caughtUp();
    this.moved(cursor);
    this.listener.state('live', '');
  }

  /** The stream ends after this; it may be the only block of it. */
  closing({ reason, retry_ms: retryMs }) {
    this.retryMs = retryMs || 0;
    this.farewell = FAREWELLS[reason] || `The gateway ended the stream (${reason}).`;
  }

  moved(cursor) {
    this.cursor = cursor;
    this.listener.cursor(cursor);
  }
}

/* ---- EventSource ------------------------------------------------------------------------------------------------ */

const OWN_TYPES = ['vidette.hello', 'vidette.gap', 'vidette.caught_up', 'vidette.closing'];

export class SourceReader extends Reader {
  constructor(url, listener, types) {
    super(url, listener);
    this.types = new Set([...OWN_TYPES, 'message', ...types]);
    // An EventSource fires these itself, without data; no event of the bus can have them for its type.
    this.types.delete('open');
    this.types.delete('error');
  }

  connect() {
    this.listener.state('connecting', '');
    this.source = new EventSource(`${this.url}?${this.query()}`);
    const take = (event) => this.take(event.type, event.data, event.lastEventId);
    for (const type of this.types) this.source.addEventListener(type, take);
    this.source.onopen = () => this.opened();
    this.source.onerror = () => this.broken();
  }

  disconnect() {
    if (this.source) this.source.close();
    this.source = null;
  }

  /** After a broken connection the browser reconnects by itself, with Last-Event-ID: an id that also moved by blocks
   *  which a page cannot see. After a bad status it gives up for good, and hides the reason. */
  broken() {
    if (this.source.readyState === EventSource.CLOSED) this.askWhy();
    else this.listener.state('waiting', `${this.farewell || 'The connection is gone.'} The browser makes a new one.`);
  }

  /** /v1/poll takes the same parameters and refuses for the same reasons, and a page can read its answer. */
  async askWhy() {
    const source = this.source;
    const response = await fetch(`${this.url.replace(/sse$/, 'poll')}?${this.query()}&wait=0&limit=1`, { cache: 'no-store' })
      .catch(() => null);
    const problem = response && !response.ok ? await problemText(response) : 'The gateway cannot be reached.';
    if (this.running && source === this.source) this.refused(response, problem);
  }
}

/** What a problem+json says of itself, or as much as can be known without one. */
export async function problemText(response) {
  const problem = await response.json().catch(() => null);
  if (!problem || !problem.title) return `The gateway answered ${response.status}.`;
  return sentence(problem.title + (problem.detail ? `: ${problem.detail}` : ''));
}

function sentence(text) {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

/* ---- fetch ------------------------------------------------------------------------------------------------------ */

export class StreamReader extends Reader {
  static get supported() {
    return typeof Response === 'function' && 'body' in Response.prototype;
  }

  connect() {
    this.listener.state('connecting', '');
    this.heartbeatMs = HEARTBEAT_MS;
    this.abort = new AbortController();
    this.read(this.abort);
  }

  disconnect() {
    if (this.abort) this.abort.abort();
    this.abort = null;
  }

  async read(abort) {
    const current = () => this.abort === abort;
    try {
      const headers = { Accept: 'text/event-stream' };
      if (this.token) headers.Authorization = `Bearer ${await this.token()}`;
      const response = await fetch(`${this.url}?${this.query()}`, { headers, cache: 'no-store', signal: abort.signal });
      if (!current()) return;
      if (response.ok) await this.readBody(response.body.getReader(), current);
      else await this.explain(response, current);
    } catch (error) {
      if (current()) this.failed(error instanceof SyntaxError ? 'The stream is not one of /v1/sse.' : 'The connection is gone.');
    }
  }

  async explain(response, current) {
    const problem = await problemText(response);
    if (current()) this.refused(response, problem);
  }

  async readBody(body, current) {
    const text = new TextDecoder();
    const blocks = new Blocks((block) => {
      if (block.retry) this.retryMs = block.retry;
      this.take(block.type, block.data, block.id);
    });
    this.opened();
    for (;;) {
      this.watch();
      const { done, value } = await body.read();
      if (!current()) return;
      if (done) break;
      blocks.push(text.decode(value, { stream: true }));
    }
    this.failed(this.farewell || 'The gateway ended the stream.');
  }

  /** Something arrives with every heartbeat; after three without anything the connection is dead. */
  watch() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.failed('The stream went silent.'), 3 * this.heartbeatMs);
  }
}

/** Cuts the text of a stream into blocks {type, data, id, retry}. Unlike an EventSource it passes on blocks without
 *  data too, because they may carry an id. */
class Blocks {
  constructor(onBlock) {
    this.onBlock = onBlock;
    this.rest = '';
    this.clear();
  }

  clear() {
    this.block = { type: '', data: '', id: '', retry: 0 };
    this.lines = [];
  }

  push(text) {
    // A CR at the very end waits for its LF, so that CRLF cut in two by the network is still one line end.
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop();
    for (const line of lines) {
      if (line === '') this.end();
      else this.field(line);
    }
  }

  /** `name: value`; a comment (a heartbeat) has an empty name. */
  field(line) {
    const [, name, value] = /^([^:]*):? ?([^]*)$/.exec(line);
    if (name === 'data') this.lines.push(value);
    else if (name === 'event') this.block.type = value;
    else if (name === 'id') this.block.id = value;
    else if (name === 'retry' && /^\d+$/.test(value)) this.block.retry = Number(value);
  }

  end() {
    const block = this.block;
    block.data = this.lines.join('\n');
    this.clear();
    this.onBlock(block);
  }
}
