// Where the model looks for a word: its map is laid over the picture.
import { el, find } from './dom.js';
import { say, words } from './i18n.js';
import { hottestPlace, paint } from './overlay.js';
import { picture } from './picture.js';
import { Runner } from './runner.js';
import { offers } from './service.js';
import { chooseTask, currentTask, onTaskChange } from './tabs.js';

const canvas = find('#heat');
const frame = find('#frame');
const maps = new Map(); // word of `text` -> its map; '' is the whole text
let runner;
let text = '';
let word = ''; // whose map is shown
let wanted = ''; // whose map is asked for

export function setUpHeatmap() {
  runner = new Runner('heatmap', 'heatmapEmpty', () => show(runner.get('sentence'), wanted));
  runner.form.elements.sentence.addEventListener('input', () => (wanted = ''));
  picture.addEventListener('change', () => {
    maps.clear();
    text = word = wanted = '';
    runner.form.elements.sentence.value = '';
    showOverlay();
  });
  onTaskChange(showOverlay);
  return runner;
}

/** Opens the tab with the map of a word of a text. */
export function locate(sentence, one) {
  if (runner.busy) runner.reset();
  chooseTask('heatmap', { focus: true });
  runner.form.elements.sentence.value = sentence;
  wanted = one;
  runner.start();
}

// Maps are kept as long as picture and text stay, so that going from word to word is quick.
async function show(sentence, one) {
  if (!sentence && !offers('caption')) {
    runner.say('needSentence');
    runner.form.elements.sentence.focus();
    return;
  }
  if (sentence !== text || !sentence) maps.clear();
  if (!maps.has(one)) {
    const map = await runner.performOnPicture('heatmap', { text: sentence, word: one });
    if (!map) return;
    text = map.text;
    runner.form.elements.sentence.value = text;
    maps.set(one, map);
  }
  word = one;
  render();
  showOverlay();
}

function render() {
  const unique = [...new Set(text.match(/[\p{L}\p{N}'’-]+/gu) ?? [])];
  const whole = el('button', { type: 'button', 'aria-pressed': String(word === ''), t: 'wholeText', 'data-word': '' });
  const buttons = unique.map((one) =>
    el('button', { type: 'button', 'aria-pressed': String(word === one), lang: 'en', 'data-word': one }, one),
  );
  const chips = el('div.chips', { role: 'group' }, ...buttons, whole);
  say(chips, 'wordsOfText', {}, 'aria-label');
  chips.addEventListener('click', ({ target }) => target.matches('button') && choose(target.dataset.word));
  const place = () => ({ word, place: words(hottestPlace(maps.get(word))) });
  const strength = runner.result.querySelector('input')?.value ?? 75;
  const slider = el('input', { type: 'range', min: 20, max: 100, value: strength, oninput: setStrength });
  runner.result.replaceChildren(
    chips,
    el('p.place', { t: [word ? 'hottestWord' : 'hottestText', place] }),
    el(
      'div.legend',
      {},
      el('div.ramp-line', { 'aria-hidden': 'true' }, el('span', { t: 'less' }), el('span.ramp'), el('span', { t: 'more' })),
      el('label.strength', {}, el('span', { t: 'strength' }), slider),
    ),
  );
  setStrength.call(slider);
}

function setStrength() {
  canvas.style.opacity = this.value / 100;
}

async function choose(one) {
  if (runner.busy) return;
  wanted = one;
  await runner.start();
  runner.result.querySelector('[aria-pressed=true]')?.focus();
}

function showOverlay() {
  const map = currentTask() === 'heatmap' ? maps.get(word) : undefined;
  canvas.hidden = !map;
  frame.classList.toggle('heated', Boolean(map));
  if (map) paint(canvas, map);
}
