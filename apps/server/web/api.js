// What the service offers: GET /v1/info, and tasks that stream what they do as server-sent events.

const tokenKey = 'blip-token';
let token = sessionStorage.getItem(tokenKey);
let askForToken = async () => null;
let asking = null;

/** What went wrong; `code` is one of the service's, or `network` or `interrupted`. */
export class ApiError extends Error {
  constructor(code, message = '') {
    super(message);
    this.code = code;
  }
}

/** `ask()` resolves to a token, or to null when the person has none. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

export async function getInfo() {
  const response = await send('v1/info', {});
  return response.json();
}

/**
 * Does a task with a picture or a text. Fields without a value (null, '') are left out, arrays repeated.
 * Resolves to the result; `signal` aborts the request, and with it the work.
 */
export async function perform(task, fields, { signal, onProgress = () => {}, onPartial = () => {} } = {}) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== '') body.append(name, one);
    }
  }
  const response = await send(`v1/${task}`, { method: 'POST', body, signal, headers: { Accept: 'text/event-stream' } });
  if (!response.headers.get('Content-Type')?.startsWith('text/event-stream')) return response.json();
  try {
    for await (const { event, data } of events(response.body)) {
      const value = JSON.parse(data);
      if (event === 'progress') onProgress(value);
      if (event === 'partial') onPartial(value);
      if (event === 'result') return value;
      if (event === 'error') throw errorOf(value, 'internal');
    }
  } catch (error) {
    if (error instanceof ApiError || signal?.aborted) throw error;
    throw new ApiError('interrupted');
  }
  throw new ApiError('interrupted');
}

async function send(path, options) {
  const sent = token;
  let response;
  try {
    const headers = { ...options.headers, ...(sent ? { Authorization: `Bearer ${sent}` } : {}) };
    response = await fetch(path, { ...options, headers, cache: 'no-store' });
  } catch (error) {
    throw options.signal?.aborted ? error : new ApiError('network');
  }
  if (response.status === 401 && (await renewToken(sent))) return send(path, options);
  if (!response.ok) throw errorOf(await response.json().catch(() => ({})), codeOf(response.status));
  return response;
}

// Requests that are refused at the same time share one question.
async function renewToken(refused) {
  if (token !== refused) return true;
  asking ??= askForToken().finally(() => (asking = null));
  const given = await asking;
  if (!given) return false;
  token = given;
  sessionStorage.setItem(tokenKey, given);
  return true;
}

function errorOf(value, otherwise) {
  const { code = otherwise, message = '' } = value.error ?? value;
  return new ApiError(code, message);
}

// For answers that a proxy gave in the service's place.
function codeOf(status) {
  const codes = { 401: 'unauthorized', 404: 'not_found', 413: 'too_large', 429: 'rate_limited', 503: 'overloaded', 504: 'timeout' };
  return codes[status] ?? (status < 500 ? 'usage' : 'internal');
}

// The events of a text/event-stream: blocks of "name: value" lines with an empty line after each.
async function* events(stream) {
  let event = '';
  let data = [];
  for await (const line of lines(stream)) {
    if (line === '') {
      if (data.length) yield { event: event || 'message', data: data.join('\n') };
      event = '';
      data = [];
      continue;
    }
    const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (name === 'event') event = value;
    if (name === 'data') data.push(value);
  }
}

async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split(/\r?\n/);
      rest = parts.pop();
      yield* parts;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
