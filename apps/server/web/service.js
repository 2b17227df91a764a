// What this service has loaded and what it takes.
import { getInfo } from './api.js';

/** `info` is what /v1/info says; null until it has answered. */
export const service = { info: null, load };

async function load() {
  service.info = await getInfo();
}

/** Whether a task can be done here; true as long as that is not known. */
export function offers(task) {
  return !service.info || Boolean(service.info.tasks[task]);
}

/** A limit of the service, Infinity where it has none or is not known. */
export function limit(name) {
  return service.info?.limits?.[name] || Infinity;
}
