// Questions about the picture; the answers stay in a list as long as the picture does.
import { el, linesOf } from './dom.js';
import { share } from './results.js';
import { Runner } from './runner.js';

export function setUpQuestions() {
  const runner = new Runner('vqa', 'vqaEmpty', async () => {
    const question = runner.get('question');
    if (!question) {
      runner.say('needQuestion');
      runner.form.elements.question.focus();
      return;
    }
    const candidates = linesOf(runner.get('candidates'));
    const fields = { question, answers: candidates, num_answers: Math.max(3, Math.min(candidates.length, 5)) };
    const result = await runner.performOnPicture('vqa', fields);
    if (!result) return;
    add(runner, result.questions.map(row));
    runner.form.elements.question.select();
  });
  return runner;
}

// The newest first, next to where it was asked.
function add(runner, rows) {
  const list = runner.result.querySelector('.answers');
  if (list) {
    list.prepend(...rows);
    return;
  }
  const clear = el('button', { type: 'button', t: 'clear', onclick: () => clearList(runner) });
  runner.result.replaceChildren(el('ol.answers', {}, ...rows), el('div.row.under', {}, clear));
}

function clearList(runner) {
  runner.clear();
  runner.form.elements.question.focus();
}

function row({ question, truncated, answers }) {
  const [best, ...others] = answers;
  return el(
    'li',
    {},
    el('p.asked', { lang: 'en' }, question),
    truncated ? el('p.hint', { t: 'truncated' }) : null,
    el('p.answer', { lang: 'en' }, best.text, el('span.amount', {}, share(best.probability))),
    others.length ? el('p.others.soft', {}, ...others.map(other)) : null,
  );
}

function other({ text, probability }) {
  return el('span', {}, el('span', { lang: 'en' }, text), ' ', share(probability));
}
