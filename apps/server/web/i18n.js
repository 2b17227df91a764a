// The page's words in the language of the person, changed in place when the person changes it.
import { strings } from './strings.js';

const languages = ['zh-CN', 'en'];
const parameter = 'lang';
const said = new WeakMap(); // element -> { slot: [key, values] }
const slots = { text: 't', 'aria-label': 'tLabel', placeholder: 'tPlaceholder', title: 'tTitle', alt: 'tAlt' };
let language = preferred();

// The address first (?lang=en), then what the browser asks for.
function preferred() {
  const asked = [new URLSearchParams(location.search).get(parameter), ...navigator.languages];
  for (const name of asked) {
    if (name?.toLowerCase().startsWith('zh')) return 'zh-CN';
    if (name?.toLowerCase().startsWith('en')) return 'en';
  }
  return 'en';
}

export function currentLanguage() {
  return language;
}

/** Kept in the address alone, so that a reload keeps it. */
export function setLanguage(chosen) {
  language = chosen;
  const address = new URL(location);
  address.searchParams.set(parameter, chosen);
  history.replaceState(null, '', address);
  translate(document);
}

/** The words for `key`, with {names} replaced by `values`; numbers as the language writes them. */
export function words(key, values = {}) {
  const entry = strings[key]?.[languages.indexOf(language)];
  const text = typeof entry === 'function' ? entry(values) : entry ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === 'number' ? number(values[name]) : values[name] ?? ''));
}

export function hasWords(key) {
  return key in strings;
}

export function number(value, digits = 2, fixed = false) {
  return value.toLocaleString(language, { minimumFractionDigits: fixed ? digits : 0, maximumFractionDigits: digits });
}

export function percent(share) {
  if (share > 0 && share < 0.001) return `<${percent(0.001)}`;
  return share.toLocaleString(language, { style: 'percent', maximumFractionDigits: share < 0.1 ? 1 : 0 });
}

/** Puts words into an element's text, or into one of its attributes, in every language from now on. */
export function say(element, key, values = {}, slot = 'text') {
  said.set(element, { ...said.get(element), [slot]: [key, values] });
  element.dataset[slots[slot]] = key;
  put(element, slot, key, values);
  return element;
}

/** Puts text that is in no language of the page, such as a file's name. */
export function tell(element, text) {
  delete element.dataset.t;
  element.textContent = text;
  return element;
}

/** Gives `root` and what is in it the current language. */
export function translate(root) {
  document.documentElement.lang = language;
  document.title = words('title');
  for (const [slot, name] of Object.entries(slots)) {
    const attribute = 'data-' + name.replace(/[A-Z]/g, (letter) => '-' + letter.toLowerCase());
    for (const element of root.querySelectorAll(`[${attribute}]`)) {
      const [key, values] = said.get(element)?.[slot] ?? [element.dataset[name], {}];
      put(element, slot, key, values);
    }
  }
}

function put(element, slot, key, values) {
  const shown = typeof values === 'function' ? values() : values;
  if (slot === 'text') element.textContent = words(key, shown);
  else element.setAttribute(slot, words(key, shown));
}
