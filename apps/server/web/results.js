// How results look, whatever task they come from.
import { el } from './dom.js';
import { number, percent, say } from './i18n.js';

/** A generated text: shown as it is written, then with its counts and a button that copies it. */
export class Writing {
  constructor(runner, kind) {
    this.runner = runner;
    this.text = el(`p.text.${kind}`, { lang: 'en' });
  }

  partial({ text }) {
    if (!this.text.isConnected) this.runner.result.replaceChildren(this.text);
    this.text.textContent = text;
  }

  /** `more` are elements under the text; `actions` are further buttons. */
  finish(text, facts, { actions = [], more = [] } = {}) {
    this.partial({ text });
    this.runner.result.append(el('div.row.under', {}, copyButton(() => text), ...actions, facts), ...more);
  }
}

/** Words, characters and seconds; where the service counts, its numbers. */
export function facts({ text, words, characters, seconds }) {
  const counts = {
    words: words ?? text.split(/\s+/).filter(Boolean).length,
    characters: characters ?? [...text].length,
  };
  return el('span.facts.soft', {}, el('span.counts', { t: ['counts', counts] }), timing(seconds));
}

export function timing(seconds) {
  return el('span.timing', { t: ['seconds', () => ({ seconds: number(seconds, seconds < 10 ? 2 : 0) })] });
}

/** A share of 1 as a bar; its number stands beside it, so it is drawn alone. */
export function meter(share) {
  const fill = el('div');
  fill.style.width = `${Math.max(0, Math.min(share, 1)) * 100}%`;
  return el('div.meter', { 'aria-hidden': 'true' }, fill);
}

/** A named measure: `key` names it, `share` draws it. */
export function measure(key, value, share) {
  return el('div.measure', {}, el('dt', { t: key }), el('dd', {}, value), meter(share));
}

export function share(value) {
  return say(el('span'), 'asIs', () => ({ text: percent(value) }));
}

export function cosine(value) {
  return say(el('span'), 'asIs', () => ({ text: number(value, 3, true) }));
}

export function copyButton(textOf) {
  const button = el('button.copy', { type: 'button', t: 'copy' });
  let back;
  button.addEventListener('click', async () => {
    say(button, (await copy(textOf())) ? 'copied' : 'copyFailed');
    clearTimeout(back);
    back = setTimeout(() => say(button, 'copy'), 2000);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

// By http from another machine the browser has no navigator.clipboard.
function copyBySelection(text) {
  const active = document.activeElement;
  const area = el('textarea.unseen', { readonly: true });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  active?.focus();
  return done;
}
