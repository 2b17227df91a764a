// Elements in fewer words.
import { say } from './i18n.js';

export function find(selector, root = document) {
  return root.querySelector(selector);
}

/**
 * An element: `el('p.note', {lang: 'en'}, 'text', child)`. A property `t` is a key of the page's words, or
 * [key, values]; those that begin with "on" are listeners; others are attributes, left out when false.
 */
export function el(what, properties = {}, ...children) {
  const [tag, ...classes] = what.split('.');
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(' ');
  for (const [name, value] of Object.entries(properties)) {
    if (name === 't') say(element, ...[value].flat());
    else if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The lines of a text that have something in them. */
export function linesOf(text) {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line);
}
