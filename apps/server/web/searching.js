// Search in the index that the service has loaded, by text or by the picture. Names only: it serves no files.
import { el, find } from './dom.js';
import { say } from './i18n.js';
import { cosine, measure, share, timing } from './results.js';
import { Runner } from './runner.js';
import { offers, service } from './service.js';

let runner;

export function setUpSearch() {
  runner = new Runner('search', 'searchEmpty', async () => {
    const fields = { k: runner.get('k'), rerank: canRerank() && runner.get('rerank') ? runner.get('k') : null };
    const result = await (byText() ? searchText(fields) : runner.performOnPicture('search', fields));
    if (!result) return;
    if (!result.results.length) {
      runner.result.replaceChildren(el('p.placeholder', { t: 'noResults' }));
      return;
    }
    runner.result.replaceChildren(
      el('ol.found', {}, ...result.results.map(row)),
      timing(result.seconds),
    );
  });
  for (const choice of runner.form.elements.by) choice.addEventListener('change', showControls);
  return runner;
}

/** Says what is in the index, once that is known. */
export function describeIndex() {
  if (!service.info?.search) return;
  say(find('#search-lead'), 'searchLead', { count: service.info.search.count });
  showControls();
}

function showControls() {
  find('#query-field').hidden = !byText();
  find('#rerank').hidden = !canRerank();
}

function byText() {
  return runner.get('by') === 'text';
}

// The match head compares pictures with texts, not each with its like.
function canRerank() {
  return offers('match') && (service.info?.search?.content === 'images') === byText();
}

async function searchText(fields) {
  const text = runner.get('query');
  if (text) return runner.perform('search', { text, ...fields });
  runner.say('needQuery');
  runner.form.elements.query.focus();
  return null;
}

function row({ name, text, itm_probability: itm, itc_similarity: itc, score }) {
  return el(
    'li',
    {},
    el('p', name === undefined ? { lang: 'en' } : {}, name ?? text),
    el(
      'dl.measures',
      {},
      itm === undefined ? null : measure('itm', share(itm), itm),
      measure('itc', cosine(itc ?? score), itc ?? score),
    ),
  );
}
