// The tasks that write: a caption, a long description.
import { el, find } from './dom.js';
import { say } from './i18n.js';
import { picture } from './picture.js';
import { Writing, copyButton, facts, meter, share } from './results.js';
import { Runner } from './runner.js';
import { offers } from './service.js';

/** `locate(text, word)` shows where a word of the caption is in the picture. */
export function setUpCaption(locate) {
  return new Runner('caption', 'captionEmpty', async (runner) => {
    const writing = new Writing(runner, 'caption');
    runner.clear();
    const variants = Number(runner.get('variants'));
    const many = variants > 1 ? { num_return_sequences: variants, num_beams: Math.max(variants, 3) } : {};
    const fields = { prompt: runner.get('prompt'), ...many };
    const result = await runner.performOnPicture('caption', fields, (partial) => writing.partial(partial));
    if (!result) return;
    const [{ text }, ...others] = result.captions;
    const more = others.length ? [el('h3', { t: 'otherVariants' }), el('ul.variants', {}, ...others.map(variant))] : [];
    const actions = [];
    if (offers('heatmap')) {
      actions.push(el('button', { type: 'button', t: 'findWords', onclick: () => locate(text, '') }));
      more.unshift(el('p.hint', { t: 'wordHint' }));
    }
    writing.finish(text, facts({ text, seconds: result.seconds }), { actions, more });
    if (offers('heatmap')) makeWordsClickable(writing.text, text, locate);
    picture.describe(text);
  });
}

function variant({ text }) {
  return el('li', {}, el('span', { lang: 'en' }, text), copyButton(() => text));
}

// For the pointer alone: with the keyboard, the button beside the text leads to the same words.
function makeWordsClickable(place, text, locate) {
  const pieces = text.match(/[\p{L}\p{N}'’-]+|[^\p{L}\p{N}'’-]+/gu) ?? [];
  const isWord = (piece) => /[\p{L}\p{N}]/u.test(piece);
  place.replaceChildren(...pieces.map((piece) => (isWord(piece) ? el('span.word', {}, piece) : piece)));
  place.addEventListener('click', ({ target }) => {
    if (target.matches('.word') && getSelection().isCollapsed) locate(text, target.textContent);
  });
}

export function setUpDescription() {
  const runner = new Runner('describe', 'describeEmpty', async () => {
    const writing = new Writing(runner, 'description');
    runner.clear();
    const result = await runner.performOnPicture('describe', fields(runner), (partial) => writing.partial(partial));
    if (result) writing.finish(result.text, facts(result), { more: sentences(result) });
  });
  for (const choice of runner.form.elements.recipe) {
    choice.addEventListener('change', () => {
      say(find('#recipe-hint'), `${runner.get('recipe')}Hint`);
      find('#rounds').hidden = runner.get('recipe') !== 'classic';
    });
  }
  return runner;
}

// Only the classic recipe works in rounds.
function fields(runner) {
  const recipe = runner.get('recipe');
  return {
    recipe,
    detail: runner.get('detail'),
    multi_round: recipe === 'classic' ? runner.get('multi_round') : null,
    seed: runner.get('seed'),
    polish: runner.get('polish') || null,
  };
}

// The faithful recipe says how sure it is of each sentence.
function sentences({ sentences: list = [] }) {
  if (!list.length) return [];
  const rows = list.map(({ text, confidence }) =>
    el('li', {}, el('span', { lang: 'en' }, text), el('span.amount', {}, share(confidence)), meter(confidence)),
  );
  return [el('h3', { t: 'confidence' }), el('ol.sentences', {}, ...rows)];
}
