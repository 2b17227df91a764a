// Starts the page: languages, the service's abilities, the token, the picture, the tasks.
import { onTokenNeeded } from './api.js';
import { el, find } from './dom.js';
import { currentLanguage, hasWords, setLanguage, translate } from './i18n.js';
import { locate, setUpHeatmap } from './heatmap.js';
import { setUpMatching } from './matching.js';
import { listenForPictures, picture } from './picture.js';
import { setUpQuestions } from './questions.js';
import { describeIndex, setUpSearch } from './searching.js';
import { service } from './service.js';
import { listenToTabs, markUnavailable } from './tabs.js';
import { setUpCaption, setUpDescription } from './writing.js';

function listenForLanguages() {
  const buttons = document.querySelectorAll('[data-language]');
  const mark = () => {
    for (const button of buttons) button.setAttribute('aria-pressed', button.dataset.language === currentLanguage());
  };
  for (const button of buttons) {
    button.addEventListener('click', () => {
      setLanguage(button.dataset.language);
      mark();
    });
  }
  mark();
}

// The button that was used to choose the picture is gone: the next thing to do is to send it.
function moveOnWithPicture() {
  const active = document.activeElement;
  if (!picture.file || (active !== document.body && !active.closest('#drop'))) return;
  find('[role=tabpanel]:not([hidden]) .primary').focus({ preventScroll: true });
}

async function learnAboutService() {
  const place = find('#service-error');
  place.replaceChildren();
  try {
    await service.load();
  } catch ({ code, message }) {
    const key = hasWords(`error_${code}`) ? `error_${code}` : 'error_internal';
    place.replaceChildren(
      el('p.error-title', { t: key }),
      ...(message ? [el('p.error-detail', { lang: 'en' }, message)] : []),
      el('button', { type: 'button', t: 'retry', onclick: learnAboutService }),
    );
    return;
  }
  const { version, models, polish } = service.info;
  const names = models.map(({ id, precision }) => `${id} (${precision})`);
  find('#service').textContent = [`blip ${version}`, ...names].join(' · ');
  find('#polish').hidden = !polish;
  markUnavailable();
  describeIndex();
}

let refused = false;

// Resolves to what was entered, or to null when the person has no token.
function askForToken() {
  const dialog = find('#token');
  const form = find('form', dialog);
  find('#token-error').replaceChildren(...(refused ? [el('p', { t: 'tokenRefused' })] : []));
  form.reset();
  dialog.showModal();
  return new Promise((resolve) => {
    const answer = (token) => {
      refused = Boolean(token);
      dialog.onclose = null;
      dialog.close();
      resolve(token);
    };
    form.onsubmit = (event) => {
      event.preventDefault();
      answer(form.elements.token.value.trim() || null);
    };
    find('#token-cancel').onclick = () => answer(null);
    dialog.onclose = () => answer(null); // the Escape key
  });
}

translate(document);
listenForLanguages();
listenToTabs();
listenForPictures();
picture.addEventListener('change', moveOnWithPicture);
setUpCaption(locate);
setUpDescription();
setUpQuestions();
setUpMatching();
setUpSearch();
setUpHeatmap();
onTokenNeeded(askForToken);
learnAboutService();
