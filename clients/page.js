/* What the pages share: settings from the address, a live list, commands with a copy button.
 *
 * Strict ES3, because the long-poll page must run where nothing newer does. A reader (longpoll/comet.js,
 * eventsource/sse.js) calls the methods of a Feed; a Feed knows nothing of the wire. */

/* ---- settings: ?topic=door.*,gate.>&start=cursor&at=1042-k3x9q2 ------------------------------------------------- */

var Page = {};

/** The fields of the page's form, as its address has them, over the defaults given. */
Page.settings = function (defaults) {
  var values = { topic: '', start: 'latest', at: '', types: '' };
  var pairs = location.search.replace(/^\?/, '').split('&');
  var name, i, cut;
  for (name in defaults) values[name] = defaults[name];
  for (i = 0; i < pairs.length; i += 1) {
    cut = pairs[i].indexOf('=');
    name = Page.decode(pairs[i].substring(0, cut));
    if (cut > 0 && values.hasOwnProperty(name)) values[name] = Page.decode(pairs[i].substring(cut + 1));
  }
  return values;
};

Page.decode = function (text) {
  try { return decodeURIComponent(text.replace(/\+/g, ' ')); } catch (malformed) { return text; }
};

/** "a, b c" as ["a", "b", "c"]. */
Page.list = function (text) {
  var words = text.split(/[\s,]+/), kept = [], i;
  for (i = 0; i < words.length; i += 1) if (words[i]) kept.push(words[i]);
  return kept;
};

/** The filter as query text. It stays the same for the life of a reader. */
Page.filter = function (settings) {
  var topics = Page.list(settings.topic), i;
  for (i = 0; i < topics.length; i += 1) topics[i] = 'topic=' + encodeURIComponent(topics[i]);
  return topics.join('&');
};

/** Where to begin as query text. It is used until the reader has a cursor. */
Page.begin = function (settings) {
  var at = encodeURIComponent(settings.at.replace(/^\s+|\s+$/g, ''));
  if (settings.start == 'snapshot') return 'snapshot=true';
  if (settings.start == 'since') return 'since=' + at;
  if (settings.start == 'cursor') return 'after=' + at;
  return 'after=' + encodeURIComponent(settings.start);
};

/** Fills the form with the settings; submitting it is a plain GET of this page, so a setting is a link. */
Page.form = function (settings) {
  var name, field;
  for (name in settings) {
    field = document.getElementById(name);
    if (field) field.value = settings[name];
  }
  document.getElementById('start').onchange = Page.startChanged;
  Page.startChanged();
};

Page.startChanged = function () {
  var start = document.getElementById('start').value, at = document.getElementById('at');
  var example = { cursor: '1042-k3x9q2', since: '15m' }[start];
  at.disabled = !example;
  at.setAttribute('placeholder', example || '');
};

/* ---- a live list ------------------------------------------------------------------------------------------------ */

/** The elements are found by id: PREFIX + rows, state, detail, cursor, count, gaps, toggle. */
function Feed(prefix, rowsMax) {
  var names = ['rows', 'state', 'detail', 'cursor', 'count', 'gaps', 'toggle'], i;
  this.part = {};
  for (i = 0; i < names.length; i += 1) this.part[names[i]] = document.getElementById(prefix + names[i]);
  this.rowsMax = rowsMax;
  this.eventCount = 0;
  this.gapCount = 0;
  this.shown = '';
  this.live = false;
  this.began = false;    // has there been a cursor, so that a break can be noticed?
  this.away = false;     // has there been a pause or a broken connection since the live end was last reached?
  this.missedCount = 0;  // events that were published while away, and have now arrived
  this.remark = '';      // what stands where a state has nothing to say
  this.counting = null;  // the countdown to the next try
  this.notice = null;    // the last gap, until somebody has seen it
}

Feed.BADGE = {
  connecting: 'connecting', 'catching-up': 'catching up', live: 'live',
  waiting: 'retrying', paused: 'paused', stopped: 'stopped'
};
Feed.DATA_MAX = 400;     // characters of an event's data that a row shows

/** Starts a reader as soon as this browser has a connection for it, and lets the button pause it and resume it. */
Feed.prototype.drive = function (reader, filter, begin) {
  var feed = this, connection = new Connection(), begun = false;
  function go() {
    if (begun) return reader.resume();
    begun = true;
    reader.start(filter, begin);
  }
  connection.onheld = function () {
    feed.remark = '';
    reader.sparing = false;
    go();
  };
  // A reader that can do without a connection of its own asks now and then; another one waits.
  connection.onfull = function () {
    feed.remark = Connection.FULL + (reader.spares ? 'Meanwhile this one asks every 2 s.' : 'This one waits for its turn.');
    if (!reader.spares) return feed.state('waiting', feed.remark);
    if (reader.sparing) return;
    reader.sparing = true;
    go();
  };
  this.part.toggle.onclick = function () {
    if (!reader.running && !connection.waits) return connection.take();
    connection.release();
    reader.pause();
  };
  connection.take();
};

/** waitMs: so long until the next try, which is counted down. */
Feed.prototype.state = function (name, detail, waitMs) {
  var idle = name == 'paused' || name == 'stopped';
  detail = detail || (idle ? '' : this.remark);
  if (this.shown == name + detail && !waitMs) return;
  this.shown = name + detail;
  this.live = name == 'live';
  if (idle || name == 'waiting') this.away = this.began;
  this.part.state.className = 'badge is-' + name;
  this.part.state.setAttribute('data-state', name);
  Feed.write(this.part.state, Feed.BADGE[name]);
  this.part.detail.className = name == 'stopped' ? 'detail bad' : 'detail';
  Feed.write(this.part.detail, detail);
  this.countDown(waitMs);
  Feed.write(this.part.toggle, name == 'stopped' ? 'Try again' : idle ? 'Resume' : 'Pause');
};

Feed.prototype.countDown = function (waitMs) {
  var until = new Date().getTime() + waitMs, left = Feed.element('span');
  function write() {
    var seconds = Math.ceil((until - new Date().getTime()) / 1000);
    Feed.write(left, seconds > 0 ? ' Next try in ' + seconds + ' s.' : ' Trying again now.');
  }
  clearInterval(this.counting);
  if (!waitMs) return;
  // For the eye alone: a screen reader would read out every second.
  left.setAttribute('aria-hidden', 'true');
  this.part.detail.appendChild(left);
  write();
  this.counting = setInterval(write, 1000);
};

Feed.prototype.cursor = function (cursor) {
  this.began = true;
  Feed.write(this.part.cursor, cursor);
};

Feed.prototype.event = function (event) {
  var row = Feed.element('div', this.away ? 'row missed' : this.live ? 'row fresh' : 'row');
  row.setAttribute('data-vid', event.vid);
  if (event.time) {
    // The time of the bus is UTC; a row shows its clock part, the tooltip all of it.
    row.appendChild(Feed.element('span', 'time', event.time.substring(11, 19) + 'Z')).title = event.time;
  }
  row.appendChild(Feed.element('span', 'vid', event.vid));
  row.appendChild(Feed.element('span', 'topic', event.topic));
  if (event.type) row.appendChild(Feed.element('span', 'type ' + Feed.typeClass(event.type), event.type));
  row.appendChild(Feed.element('span', 'data', Feed.dataText(event)));
  if (this.away) this.missedCount += 1;
  this.eventCount += 1;
  Feed.write(this.part.count, this.eventCount);
  this.append(row);
};

Feed.prototype.gap = function (gap) {
  var row = Feed.element('div', 'row gap');
  row.setAttribute('data-gap', gap.reason);
  row.appendChild(Feed.element('b', '', 'Gap: ' + gap.reason + '. '));
  row.appendChild(document.createTextNode(Feed.gapText(gap)));
  this.gapCount += 1;
  Feed.write(this.part.gaps, this.gapCount);
  this.append(row);
  this.showNotice('Gap: ' + gap.reason + '. ' + Feed.gapText(gap));
};

/** Stays above the rows, which scroll away, until somebody has seen it. */
Feed.prototype.showNotice = function (text) {
  var feed = this, button = Feed.element('button', 'small end', 'Dismiss');
  this.dismiss();
  this.notice = Feed.element('div', 'notice');
  this.notice.setAttribute('role', 'status');
  this.notice.appendChild(Feed.element('span', '', text));
  this.notice.appendChild(button);
  button.setAttribute('type', 'button');
  button.onclick = function () { feed.dismiss(); };
  this.part.rows.parentNode.insertBefore(this.notice, this.part.rows);
};

Feed.prototype.dismiss = function () {
  if (this.notice) this.notice.parentNode.removeChild(this.notice);
  this.notice = null;
};

/** What says that something went wrong looks like it; other types are told apart in the order in which they come. */
Feed.typeClass = function (type) {
  var types = Feed.types, i;
  if (/refus|den(y|ied)|reject|fail|error|alarm|cancel/i.test(type)) return 'type-bad';
  for (i = 0; i < types.length && types[i] != type; i += 1);
  if (i == types.length && i < Feed.TYPES_MAX) types.push(type);
  return 'type-' + i % 4;
};
Feed.types = [];
Feed.TYPES_MAX = 100;

/** The live end is reached: what came since a pause is what would have been lost without a cursor. */
Feed.prototype.caughtUp = function () {
  if (this.away && this.missedCount) {
    this.append(Feed.element('div', 'row note', this.missedCount == 1
      ? 'The event above was published while this reader was away.'
      : 'The ' + this.missedCount + ' events above were published while this reader was away.'));
  }
  this.away = false;
  this.missedCount = 0;
};

/** Appends like a terminal does: the newest is in sight unless the reader has scrolled up to look at something. */
Feed.prototype.append = function (row) {
  var rows = this.part.rows;
  var follows = rows.scrollTop + rows.clientHeight >= rows.scrollHeight - 40;
  var empty = rows.firstChild;
  if (empty && (empty.nodeType != 1 || empty.className == 'empty')) rows.innerHTML = '';
  rows.appendChild(row);
  while (rows.childNodes.length > this.rowsMax) rows.removeChild(rows.firstChild);
  if (follows) rows.scrollTop = rows.scrollHeight;
};

Feed.gapText = function (gap) {
  if (gap.reason == 'expired') {
    return 'Events after ' + gap.requested + ' are no longer retained; the oldest retained event is ' + gap.first
      + '. Reading continues from there.';
  }
  if (gap.reason == 'reset') {
    return 'The log is a new one (epoch ' + gap.epoch + '); ' + gap.requested
      + ' belongs to another. Reading continues from its earliest event.';
  }
  return 'The log ends at ' + gap.last + ', before ' + gap.requested + '. Reading continues from its end.';
};

Feed.dataText = function (event) {
  var text = typeof event.data_base64 == 'string' ? 'base64: ' + event.data_base64
    : typeof event.data == 'string' ? event.data
    : typeof event.data == 'undefined' ? '' : Page.stringify(event.data);
  if (text.length <= Feed.DATA_MAX) return text;
  return text.substring(0, Feed.DATA_MAX) + '\u2026 (' + text.length + ' characters)';
};

/* Whatever comes from outside becomes a text node, so no event can bring markup into a page. (A text node and not
 * textContent: IE 8 has only the former.) */
Feed.element = function (name, className, text) {
  var element = document.createElement(name);
  if (className) element.className = className;
  if (arguments.length > 2) Feed.write(element, text);
  return element;
};

Feed.write = function (element, text) {
  while (element.firstChild) element.removeChild(element.firstChild);
  if (text !== '') element.appendChild(document.createTextNode(text));
};

/** JSON.stringify for a value that came out of JSON, also where there is no JSON. */
Page.stringify = function (value) {
  var parts = [], i, key;
  if (window.JSON && JSON.stringify) return JSON.stringify(value);
  if (typeof value == 'string') return Page.quote(value);
  if (value === null || typeof value != 'object') return String(value);
  if (Object.prototype.toString.call(value) == '[object Array]') {
    for (i = 0; i < value.length; i += 1) parts.push(Page.stringify(value[i]));
    return '[' + parts.join(',') + ']';
  }
  for (key in value) {
    if (Object.prototype.hasOwnProperty.call(value, key)) parts.push(Page.quote(key) + ':' + Page.stringify(value[key]));
  }
  return '{' + parts.join(',') + '}';
};

Page.quote = function (text) {
  return '"' + text.replace(/[\\"\x00-\x1f]/g, function (mark) {
    if (mark == '"' || mark == '\\') return '\\' + mark;
    return '\\u' + ('000' + mark.charCodeAt(0).toString(16)).slice(-4);
  }) + '"';
};

/* ---- the connections of this browser ------------------------------------------------------------------------------
 *
 * Over HTTP/1.1 a browser opens six connections to a host, for all its tabs together, and each reader holds one: with
 * six of them a further tab would stay blank for ever. So the readers of all tabs count each other, and hold four at
 * most. A tab that is closed or has crashed answers no more, and so counts no more. */

function Connection() {
  this.name = String(Math.random());
  this.isHeld = false;
  this.isAsking = false;
  this.waits = false;     // for a connection that others hold
  this.others = {};       // who hold one, or ask for one at the same time
  this.timer = null;
  this.channel = null;
}

Connection.MOST = 4;
Connection.ANSWER_MS = 200;
Connection.AGAIN_MS = 2000;
Connection.FULL = 'This browser reads in four places already. Over HTTP/1.1 it opens six connections to a gateway at '
  + 'most; close another tab, or use https://, where HTTP/2 has no such limit. ';

/** HTTP/2 carries all readers on one connection; and a browser without BroadcastChannel cannot count. */
Connection.areUnlimited = function () {
  var page = window.performance && performance.getEntriesByType && performance.getEntriesByType('navigation')[0];
  return !window.BroadcastChannel || !!page && /^h[23]/.test(page.nextHopProtocol);
};

/** Calls onheld once it is held; calls onfull each time that it is not to be had. */
Connection.prototype.take = function () {
  var self = this;
  if (this.isHeld || Connection.areUnlimited()) return this.onheld();
  this.open();
  this.isAsking = true;
  this.others = {};
  this.channel.postMessage({ ask: this.name });
  clearTimeout(this.timer);
  this.timer = setTimeout(function () { self.counted(); }, Connection.ANSWER_MS);
};

Connection.prototype.counted = function () {
  var self = this, count = 0, name;
  for (name in this.others) count += 1;
  this.isAsking = false;
  this.isHeld = count < Connection.MOST;
  this.waits = !this.isHeld;
  if (this.isHeld) return this.onheld();
  // Not all at the same time: those who ask together all see each other.
  this.timer = setTimeout(function () { self.take(); }, Connection.AGAIN_MS * (0.5 + Math.random()));
  this.onfull();
};

Connection.prototype.release = function () {
  clearTimeout(this.timer);
  this.isHeld = this.isAsking = this.waits = false;
};

Connection.prototype.open = function () {
  var self = this;
  if (this.channel) return;
  this.channel = new BroadcastChannel('vidette-connections');
  this.channel.onmessage = function (message) {
    var said = message.data;
    if (said.ask && (self.isHeld || self.isAsking)) self.channel.postMessage({ to: said.ask, held: self.name });
    if (said.to == self.name) self.others[said.held] = true;
  };
};

/* ---- commands --------------------------------------------------------------------------------------------------- */

/** HOST:PORT as grpcurl wants it: always with the port. */
Page.address = function () {
  return location.hostname + ':' + (location.port || (location.protocol == 'https:' ? '443' : '80'));
};

/** Makes the commands of the page this gateway's own, and gives each a copy button. */
Page.commands = function () {
  var blocks = document.getElementsByTagName('pre'), i, text;
  for (i = 0; i < blocks.length; i += 1) {
    text = blocks[i].firstChild.nodeValue.replace(/HOST:PORT/g, Page.address());
    if (location.protocol == 'https:') text = text.replace(/ -plaintext/g, '');
    Feed.write(blocks[i], text);
    Page.copyButton(blocks[i]);
  }
};

Page.copyButton = function (block) {
  var button = document.getElementById(block.id + '-copy');
  if (!button) return;
  button.onclick = function () {
    Page.copy(block, function (done) {
      Feed.write(button, done ? 'Copied' : 'Press Ctrl+C');
      setTimeout(function () { Feed.write(button, 'Copy'); }, 2000);
    });
  };
};

/** navigator.clipboard is there only on https and localhost; elsewhere the text is selected and copied the old way. */
Page.copy = function (block, then) {
  function byHand() {
    var copied = false;
    if (window.getSelection) window.getSelection().selectAllChildren(block);
    try { copied = document.execCommand('copy'); } catch (refused) { copied = false; }
    then(copied);
  }
  if (!navigator.clipboard) return byHand();
  navigator.clipboard.writeText(block.firstChild.nodeValue).then(function () { then(true); }, byHand);
};
