// One panel's work: it starts, says how far it is, can be cancelled, and ends with a result or an error in words.
import { ApiError, perform } from './api.js';
import { el, find } from './dom.js';
import { hasWords, number, say, translate, words } from './i18n.js';
import { picture } from './picture.js';

const worthRetrying = ['network', 'interrupted', 'internal', 'overloaded', 'rate_limited', 'timeout', 'unauthorized'];

export class Runner {
  #controller = null;
  #work;
  #empty;
  #fraction = 0;

  /**
   * `name` is the panel's; `work(runner)` is called when its form is sent, and calls `perform`. `empty` is the
   * key of the words that stand where the result will be.
   */
  constructor(name, empty, work) {
    this.panel = find(`#panel-${name}`);
    this.form = find('form', this.panel);
    this.panel.append(find('#run').content.cloneNode(true));
    this.working = find('.working', this.panel);
    this.result = find('.result', this.panel);
    this.go = find('.actions .primary', this.panel);
    this.stopper = el('button.cancel', { type: 'button', hidden: true, t: 'cancel', onclick: () => this.#cancel() });
    this.go.after(this.stopper);
    this.#work = work;
    this.#empty = empty;
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.start();
    });
    picture.addEventListener('change', () => this.reset());
    this.clear();
    translate(this.panel);
  }

  /** The form's fields: text without spaces around it, whether a box is ticked, the chosen radio button. */
  get(name) {
    const control = this.form.elements[name];
    return control.type === 'checkbox' ? control.checked : control.value.trim();
  }

  get busy() {
    return Boolean(this.#controller);
  }

  async start() {
    if (this.busy) return;
    this.say(null);
    this.working.hidden = true;
    await this.#work(this);
  }

  /** Stops what runs, without a word, and empties the panel. */
  reset() {
    this.#controller?.abort();
    this.#controller = null;
    this.#rest();
    this.say(null);
    this.working.hidden = true;
    this.clear();
  }

  clear() {
    this.result.replaceChildren(el('p.placeholder', { t: this.#empty }));
  }

  /** Sends the task. Resolves to its result, or to null when there is none; then the panel says why. */
  async perform(task, fields, onPartial) {
    const controller = new AbortController();
    this.#controller = controller;
    this.#begin();
    try {
      const onProgress = (progress) => this.#progress(progress);
      return await perform(task, fields, { signal: controller.signal, onProgress, onPartial });
    } catch (error) {
      if (controller.signal.aborted) return null;
      if (!(error instanceof ApiError)) throw error;
      this.#fail(error);
      return null;
    } finally {
      if (this.#controller === controller) {
        this.#controller = null;
        this.#rest();
      }
    }
  }

  /** As `perform`, with the picture; says so when there is none or the service would not take it. */
  async performOnPicture(task, fields, onPartial) {
    const refusal = picture.refusal();
    if (!refusal) return this.perform(task, { image: picture.file, ...fields }, onPartial);
    this.say(...refusal);
    if (!picture.file) find('#choose').focus();
    return null;
  }

  /** Shows an error in the page's words; null takes it away. */
  say(key, values, ...more) {
    const place = find('.error', this.panel);
    place.replaceChildren(...(key ? [el('p.error-title', { t: [key, values ?? {}] }), ...more] : []));
  }

  #begin() {
    this.panel.classList.add('busy');
    this.go.setAttribute('aria-disabled', 'true');
    this.stopper.hidden = false;
    this.working.hidden = false;
    this.result.setAttribute('aria-busy', 'true');
    this.#fraction = 0;
    this.#progress({ stage: 'sending' });
    const began = performance.now();
    const elapsed = find('.elapsed', this.working);
    elapsed.textContent = '';
    this.timer = setInterval(() => {
      elapsed.textContent = words('seconds', { seconds: number((performance.now() - began) / 1000, 0) });
    }, 1000);
    this.working.scrollIntoView({ block: 'nearest' });
  }

  #rest() {
    clearInterval(this.timer);
    this.panel.classList.remove('busy');
    this.go.removeAttribute('aria-disabled');
    if (document.activeElement === this.stopper) this.go.focus();
    this.stopper.hidden = true;
    this.working.hidden = true;
    this.result.removeAttribute('aria-busy');
  }

  #cancel() {
    this.#controller?.abort();
    this.#controller = null;
    this.#rest();
    this.working.hidden = false;
    say(find('.stage', this.working), 'cancelled');
    find('.elapsed', this.working).textContent = '';
  }

  #progress({ stage, round, rounds, done, of, share, prompt }) {
    const key = 'stage' + stage[0].toUpperCase() + stage.slice(1);
    const parts = [el('span', { t: hasWords(key) ? key : 'working' })];
    if (rounds > 1) parts.push(el('span', { t: ['stepRound', { round: round ?? 1, rounds }] }));
    if (of > 1) parts.push(el('span', { t: ['stepOf', { step: Math.min(done + 1, of), of }] }));
    if (prompt) parts.push(el('q', { lang: 'en' }, prompt.replaceAll('{current}', '…')));
    find('.stage', this.working).replaceChildren(...parts.flatMap((part, i) => (i ? [' · ', part] : [part])));

    const part = share ?? 0;
    const fraction = rounds ? ((round ?? 1) - 1 + part) / rounds : part;
    this.#fraction = Math.max(this.#fraction, Math.min(fraction, 1)); // a later stage never looks like less
    const bar = find('.bar', this.working);
    bar.classList.toggle('endless', this.#fraction === 0);
    bar.firstElementChild.style.width = `${this.#fraction * 100}%`;
    if (this.#fraction) bar.setAttribute('aria-valuenow', Math.round(this.#fraction * 100));
    else bar.removeAttribute('aria-valuenow');
  }

  #fail({ code, message }) {
    const key = hasWords(`error_${code}`) ? `error_${code}` : 'error_internal';
    const detail = message ? el('p.error-detail', { lang: 'en' }, message) : null;
    const again = worthRetrying.includes(code) ? el('button', { type: 'button', t: 'retry', onclick: () => this.start() }) : null;
    this.say(key, {}, ...[detail, again].filter(Boolean));
  }
}
