// The tasks as tabs: arrow keys, Home and End move between them; one panel is shown.
import { find, el } from './dom.js';
import { say } from './i18n.js';
import { offers } from './service.js';

const tabs = [...document.querySelectorAll('[role=tab]')];
const changes = new EventTarget();
let chosen = 'caption';

function taskOf(tab) {
  return tab.id.replace('tab-', '');
}

export function currentTask() {
  return chosen;
}

/** Calls `listener(task)` whenever another tab is chosen. */
export function onTaskChange(listener) {
  changes.addEventListener('change', () => listener(chosen));
}

export function chooseTask(task, { focus = false } = {}) {
  chosen = task;
  for (const tab of tabs) {
    const on = taskOf(tab) === task;
    tab.setAttribute('aria-selected', on);
    tab.tabIndex = on ? 0 : -1;
    find(`#panel-${taskOf(tab)}`).hidden = !on;
    if (on && focus) tab.focus();
  }
  changes.dispatchEvent(new Event('change'));
}

export function listenToTabs() {
  for (const tab of tabs) tab.addEventListener('click', () => chooseTask(taskOf(tab)));
  find('[role=tablist]').addEventListener('keydown', (event) => {
    const at = tabs.indexOf(event.target);
    const last = tabs.length - 1;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    chooseTask(taskOf(tabs[to < 0 ? last : to > last ? 0 : to]), { focus: true });
  });
  chooseTask(chosen);
}

/**
 * Dims the tabs of tasks that this service does not offer. They can still be chosen: their panels say why, which
 * a tip alone would not on a phone.
 */
export function markUnavailable() {
  for (const tab of tabs) {
    const task = taskOf(tab);
    const panel = find(`#panel-${task}`);
    const off = !offers(task);
    find('.unseen', tab)?.remove();
    find('.notice', panel)?.remove();
    panel.classList.toggle('off', off);
    tab.setAttribute('aria-disabled', off);
    if (!off) continue;
    const reason = 'no' + task[0].toUpperCase() + task.slice(1);
    tab.append(el('span.unseen', { t: 'notLoaded' }));
    say(tab, reason, {}, 'title');
    panel.prepend(el('p.notice', { t: reason }));
  }
  const first = tabs.map(taskOf).find(offers);
  if (first && !offers(chosen)) chooseTask(first);
}
