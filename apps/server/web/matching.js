// Which of several texts fits the picture: the best first, with both scores of the model as bars.
import { el, linesOf } from './dom.js';
import { cosine, measure, share, timing } from './results.js';
import { Runner } from './runner.js';
import { limit } from './service.js';

export function setUpMatching() {
  const runner = new Runner('match', 'matchEmpty', async () => {
    const texts = linesOf(runner.get('texts'));
    const refusal = refusalOf(texts);
    if (refusal) {
      runner.say(...refusal);
      runner.form.elements.texts.focus();
      return;
    }
    runner.clear();
    const result = await runner.performOnPicture('match', { text: texts });
    if (!result) return;
    const rows = [...result.matches].sort((a, b) => scoreOf(b) - scoreOf(a)).map(row);
    runner.result.replaceChildren(
      el('ol.matches', {}, ...rows),
      el('p.hint', {}, el('span', { t: 'itmTitle' }), el('br'), el('span', { t: 'itcTitle' })),
      timing(result.seconds),
    );
  });
  return runner;
}

function refusalOf(texts) {
  if (!texts.length) return ['needTexts'];
  if (texts.length > limit('texts')) return ['tooManyTexts', { count: texts.length, limit: limit('texts') }];
  const longest = Math.max(...texts.map((text) => new TextEncoder().encode(text).length));
  if (longest > limit('text_bytes')) return ['textTooLong', { limit: limit('text_bytes') }];
  return null;
}

// Checkpoints may have one of the heads only.
function scoreOf({ itm_probability: itm, itc_similarity: itc }) {
  return itm ?? itc;
}

function row({ text, truncated, itm_probability: itm, itc_similarity: itc }) {
  return el(
    'li',
    {},
    el('p', { lang: 'en' }, text),
    truncated ? el('p.hint', { t: 'truncated' }) : null,
    el(
      'dl.measures',
      {},
      itm === undefined ? null : measure('itm', share(itm), itm),
      itc === undefined ? null : measure('itc', cosine(itc), itc),
    ),
  );
}
