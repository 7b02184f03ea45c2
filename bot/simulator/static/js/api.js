/** Talks to the simulator: JSON calls whose refusals become sentences, and live streams that catch up after a gap. */

export class SimulatorError extends Error {}

async function call(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new SimulatorError("连不上模拟器，请确认它还在运行");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new SimulatorError(answer.error || `模拟器没有办成这件事（HTTP ${response.status}）`);
  return answer;
}

export const get = (path) => call("GET", path);
export const post = (path, body = {}) => call("POST", path, body);
export const remove = (path) => call("DELETE", path);

/** A path from parts, each part escaped: at("sim", "phone", id). */
export const at = (...parts) => "/" + parts.map(encodeURIComponent).join("/");

/** Hand in a picture or file; answers with its media_id. */
export async function upload(path, file) {
  const form = new FormData();
  form.append("media", file);
  const response = await fetch(path, { method: "POST", body: form }).catch(() => null);
  const answer = response ? await response.json().catch(() => ({})) : {};
  if (!response?.ok) throw new SimulatorError(answer.error || "文件没有传上去，请再试一次");
  return answer.media_id;
}

export const mediaUrl = (mediaId) => at("sim", "media", mediaId);

const RETRY_MS = 2000;

/**
 * Follow a stream of server-sent events. `onOpen` runs at every (re)connection: load there what may have been missed.
 * The browser reconnects by itself after a broken line, but gives up after an HTTP error; then we try again.
 * Returns a function that stops.
 */
export function follow(path, { onOpen, onEvent, onLost, kinds }) {
  let source = null;
  let timer = null;
  const connect = () => {
    source = new EventSource(path);
    source.onopen = () => onOpen();
    source.onerror = () => {
      onLost?.();
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(connect, RETRY_MS);
    };
    for (const kind of kinds) source.addEventListener(kind, (event) => onEvent(kind, JSON.parse(event.data || "{}")));
  };
  connect();
  const stop = () => {
    clearTimeout(timer);
    source.close();
  };
  window.addEventListener("pagehide", stop, { once: true });
  return stop;
}
