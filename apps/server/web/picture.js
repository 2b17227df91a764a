// The picture: chosen, dropped or pasted, shown at once. It is decoded by the browser off the page's thread and
// sent as the file that it is.
import { find } from './dom.js';
import { number, say, tell, words } from './i18n.js';
import { limit } from './service.js';

const image = find('#image');
const frame = find('#frame');
const problem = find('#picture-error');

/** Says "change" when another picture, or none, takes its place. */
class Picture extends EventTarget {
  file = null;
  width = 0; // 0 while it is not decoded, or when the browser cannot
  height = 0;
  #address = '';

  /** Takes a file and shows it; what cannot be shown may still be sent. */
  async take(file) {
    this.#replace(file);
    const address = this.#address;
    image.src = address;
    const shown = await image.decode().then(() => true, () => false);
    if (this.#address !== address) return; // another came meanwhile
    this.width = shown ? image.naturalWidth : 0;
    this.height = shown ? image.naturalHeight : 0;
    this.#show();
  }

  remove() {
    this.#replace(null);
    find('#choose').focus();
  }

  describe(text) {
    image.lang = 'en';
    image.alt = text;
    delete image.dataset.tAlt;
  }

  /** Why the service would refuse the picture, as [key, values] of the page's words; null: nothing known. */
  refusal() {
    if (!this.file) return ['error_no_picture'];
    const bytes = limit('body_bytes') - 4096; // the form around the file
    const { size } = this.file;
    if (size > bytes) return ['tooManyBytes', () => ({ size: bytesInWords(size), limit: bytesInWords(bytes) })];
    const pixels = this.width * this.height;
    if (pixels > limit('pixels')) return ['tooManyPixels', { size: pixels / 1e6, limit: limit('pixels') / 1e6 }];
    return null;
  }

  #replace(file) {
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.file = file;
    this.width = this.height = 0;
    this.#address = file ? URL.createObjectURL(file) : '';
    image.removeAttribute('src');
    find('#drop').hidden = Boolean(file);
    find('#shown').hidden = !file;
    find('#unshown').hidden = true;
    frame.hidden = true;
    complain(null);
    this.dispatchEvent(new Event('change'));
  }

  #show() {
    const name = () => ({ name: this.file.name || words('pastedName') });
    const shown = this.width > 0;
    frame.hidden = !shown;
    find('#unshown').hidden = shown;
    frame.style.setProperty('--ratio', shown ? this.width / this.height : 1);
    frame.style.setProperty('--natural', `${this.width}px`);
    delete image.lang;
    say(image, 'pictureAlt', name, 'alt');
    if (this.file.name) tell(find('#file-name'), this.file.name);
    else say(find('#file-name'), 'pastedName');
    find('#file-pixels').hidden = !shown;
    say(find('#file-pixels'), 'pixels', { width: String(this.width), height: String(this.height) });
    say(find('#file-bytes'), 'asIs', () => ({ text: bytesInWords(this.file.size) }));
    say(find('#picture-status'), 'pictureReady', name);
    complain(this.refusal());
  }
}

export const picture = new Picture();

/** Starts to listen for files: the chooser, drops anywhere on the page, pastes. */
export function listenForPictures() {
  const chooser = find('#file');
  for (const id of ['#choose', '#replace']) find(id).addEventListener('click', () => chooser.click());
  chooser.addEventListener('change', () => {
    if (chooser.files[0]) picture.take(chooser.files[0]);
    chooser.value = ''; // so that the same file can be chosen again
  });
  find('#remove').addEventListener('click', () => picture.remove());
  listenForDrops();
  listenForPastes();
}

function listenForDrops() {
  const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
  const mark = (on) => {
    document.body.classList.toggle('dropping', on);
    say(find('.drop-title'), on ? 'dropNow' : 'drop');
  };
  addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(true);
  });
  addEventListener('dragleave', (event) => event.relatedTarget || mark(false)); // null: out of the window
  addEventListener('drop', (event) => {
    mark(false);
    const file = firstPicture(event.dataTransfer);
    if (!file && !hasFiles(event)) return; // text dragged into a field
    event.preventDefault();
    if (file) picture.take(file);
    else complain(['noFile']);
  });
}

function listenForPastes() {
  addEventListener('paste', (event) => {
    const file = firstPicture(event.clipboardData);
    if (file) {
      event.preventDefault();
      // Browsers give a picture that was no file a name that says nothing.
      picture.take(file.name === 'image.png' ? new File([file], '', { type: file.type }) : file);
    } else if (!event.target.closest?.('input, textarea')) {
      complain(['pasteFailed']);
    }
  });
  const button = find('#paste');
  button.hidden = !navigator.clipboard?.read; // only where the page is from this machine or by https
  button.addEventListener('click', async () => {
    const file = await readClipboard().catch(() => null);
    if (file) picture.take(file);
    else complain(['pasteFailed']);
  });
}

async function readClipboard() {
  for (const item of await navigator.clipboard.read()) {
    const type = item.types.find((name) => name.startsWith('image/'));
    if (type) return new File([await item.getType(type)], '', { type });
  }
  return null;
}

// A file without a type may be a picture that this system does not know; the service will tell.
function firstPicture(transfer) {
  const files = [...(transfer?.files ?? [])];
  return files.find((file) => file.type.startsWith('image/')) ?? files.find((file) => !file.type) ?? null;
}

function complain(reason) {
  if (reason) problem.replaceChildren(say(document.createElement('p'), ...reason));
  else problem.replaceChildren();
}

function bytesInWords(bytes) {
  if (bytes < 1e6) return `${number(Math.max(1, bytes / 1e3), 0)} KB`;
  return `${number(bytes / 1e6, 1)} MB`;
}
