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
}

Feed.BADGE = {
  connecting: 'connecting', 'catching-up': 'catching up', live: 'live',
  waiting: 'retrying', paused: 'paused', stopped: 'stopped'
};
Feed.DATA_MAX = 400;     // characters of an event's data that a row shows

/** Lets the button pause the reader and resume it from its cursor. */
Feed.prototype.drive = function (reader) {
  this.part.toggle.onclick = function () {
    if (reader.running) reader.pause(); else reader.resume();
  };
};

Feed.prototype.state = function (name, detail) {
  var idle = name == 'paused' || name == 'stopped';
  if (this.shown == name + detail) return;
  this.shown = name + detail;
  this.live = name == 'live';
  if (idle || name == 'waiting') this.away = this.began;
  this.part.state.className = 'badge is-' + name;
  this.part.state.setAttribute('data-state', name);
  Feed.write(this.part.state, Feed.BADGE[name]);
  this.part.detail.className = name == 'stopped' ? 'detail bad' : 'detail';
  Feed.write(this.part.detail, detail || '');
  Feed.write(this.part.toggle, name == 'stopped' ? 'Try again' : idle ? 'Resume' : 'Pause');
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
  if (event.type) row.appendChild(Feed.element('span', 'type', event.type));
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
};

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
