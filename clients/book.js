/* The book at /docs/: a search through its sections, and copy buttons. Without it the pages are whole. */
'use strict';

(() => {
  const MOST_FOUND = 25;
  const EXCERPT_BEFORE = 40;
  const EXCERPT_LENGTH = 160;
  const search = document.getElementById('search');
  const box = document.getElementById('search-for');
  const list = document.getElementById('found');
  const chapters = document.getElementById('chapters');
  const words = search.dataset;

  /** Each section as [page, anchor, title of the page, heading, text]; loaded once somebody searches. */
  let sections = null;
  function load() {
    if (!sections) {
      sections = fetch(words.up + words.index).then((answer) => {
        if (!answer.ok) throw new Error(`status ${answer.status}`);
        return answer.json();
      });
      // The next search tries again.
      sections.catch(() => { sections = null; });
    }
    return sections;
  }

  /** A section has all that is searched for; what is in a heading counts most. */
  function score([, , title, heading, text], wanted) {
    let sum = 0;
    for (const word of wanted) {
      const at = [heading, title, text].findIndex((part) => part.toLowerCase().includes(word));
      if (at < 0) return 0;
      sum += [9, 4, 1][at];
    }
    return sum;
  }

  function find(all, wanted) {
    const scored = all.map((section) => ({ section, score: score(section, wanted) }));
    const found = scored.filter((it) => it.score > 0).sort((a, b) => b.score - a.score);
    return found.slice(0, MOST_FOUND).map((it) => it.section);
  }

  /** The text around the first word that is searched for, with all of them marked. */
  function excerpt(text, wanted) {
    const lower = text.toLowerCase();
    const places = wanted.map((word) => lower.indexOf(word)).filter((at) => at >= 0);
    const from = Math.max(0, Math.min(...places, text.length) - EXCERPT_BEFORE);
    const shown = text.slice(from, from + EXCERPT_LENGTH);
    const line = document.createElement('p');
    const escaped = wanted.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    for (const [n, piece] of shown.split(new RegExp(`(${escaped.join('|')})`, 'i')).entries()) {
      const node = document.createElement(n % 2 ? 'mark' : 'span');
      node.textContent = piece;
      line.append(node);
    }
    return line;
  }

  function item([page, anchor, title, heading, text], wanted) {
    const link = document.createElement('a');
    link.href = `${words.up}${page}${anchor ? `#${anchor}` : ''}`;
    link.textContent = heading && heading !== title ? `${title}: ${heading}` : title;
    const entry = document.createElement('li');
    entry.append(link, excerpt(text, wanted));
    return entry;
  }

  async function show() {
    const asked = box.value;
    const wanted = asked.toLowerCase().split(/\s+/).filter(Boolean);
    list.classList.toggle('hidden', !wanted.length);
    chapters.classList.toggle('hidden', wanted.length > 0);
    if (!wanted.length) return list.replaceChildren();
    let entries;
    try {
      entries = find(await load(), wanted).map((section) => item(section, wanted));
    } catch (error) {
      entries = [Object.assign(document.createElement('li'), { textContent: error.message })];
    }
    if (box.value !== asked) return;
    if (!entries.length) entries = [Object.assign(document.createElement('li'), { textContent: words.nothing })];
    list.replaceChildren(...entries);
  }

  function copyButton(block) {
    const frame = document.createElement('div');
    const button = document.createElement('button');
    frame.className = 'code';
    button.type = 'button';
    button.textContent = words.copy;
    button.onclick = async () => {
      await navigator.clipboard.writeText(block.textContent);
      button.textContent = words.copied;
      setTimeout(() => { button.textContent = words.copy; }, 2000);
    };
    block.replaceWith(frame);
    frame.append(block, button);
  }

  /** The chapter that is read is in sight, wherever it is in the contents. */
  function showChapter() {
    const here = chapters.querySelector('[aria-current]');
    const beside = document.getElementById('contents');
    if (here && here.offsetTop > beside.clientHeight * 0.8) {
      beside.scrollTop = here.offsetTop - beside.clientHeight / 2;
    }
  }

  search.classList.remove('hidden');
  showChapter();
  search.addEventListener('submit', (submit) => {
    submit.preventDefault();
    list.querySelector('a')?.click();
  });
  box.addEventListener('input', show);
  // `/` goes to the search, as in other books.
  document.addEventListener('keydown', (key) => {
    if (key.key !== '/' || key.target.closest?.('input, textarea')) return;
    key.preventDefault();
    if (!search.offsetParent) location.hash = 'contents';
    box.focus();
  });
  // The clipboard is there only on https and localhost.
  if (navigator.clipboard) document.querySelectorAll('main pre').forEach(copyButton);
})();
