// Requests to the server that this page came from, with the API key where it asks for one.

import { find, show } from "./dom.js";

const STORED = "evergreen-api-key"; // in this tab only

/** An answer that is no success; `errors` are problem details' (RFC 9457) by field. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The server answered with status ${status}.`);
    this.status = status;
    this.errors = problem.errors || [];
    this.more = problem.more_errors || 0;
  }
}

export const hasKey = () => sessionStorage.getItem(STORED) !== null;

/** Make a request; return the response and how long it took to arrive, in milliseconds. */
export async function request(path, options = {}) {
  for (;;) {
    const headers = new Headers(options.headers);
    const key = sessionStorage.getItem(STORED);
    if (key !== null) headers.set("X-API-Key", key);
    const started = performance.now();
    let response;
    try {
      response = await fetch(path, { ...options, headers, cache: "no-store" });
    } catch {
      throw new Refusal(0, { detail: "The server does not answer. Is it still running?" });
    }
    if (response.ok) return { response, ms: performance.now() - started };
    const refusal = new Refusal(response.status, await problemOf(response));
    if (response.status !== 401) throw refusal;
    if (!(await askForKey(key === null ? null : refusal.message))) throw refusal;
  }
}

export async function getJson(path) {
  return (await request(path)).response.json();
}

/** Post a value as JSON; return the answer and the time until the whole of it was there. */
export async function postJson(path, value) {
  const { response, ms } = await request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(value),
  });
  return { answer: await response.json(), ms };
}

async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    return {}; // a proxy's page, perhaps: the status has to do
  }
}

let asking = null; // several requests may be refused at once; one dialog serves them all

/** Ask for a key; resolve to whether one was given. */
export function askForKey(problem = null) {
  asking ??= new Promise((resolve) => {
    const dialog = find("key-dialog");
    const input = find("key");
    find("key-problem").textContent = problem ?? "";
    show(find("key-problem"), problem !== null);
    input.value = "";
    find("key-cancel").onclick = () => dialog.close();
    find("key-form").onsubmit = () => {
      sessionStorage.setItem(STORED, input.value.trim());
      show(find("change-key"));
    };
    dialog.returnValue = "";
    find("key-form").querySelector("[type=submit]").value = "given";
    dialog.onclose = () => {
      asking = null;
      resolve(dialog.returnValue === "given");
    };
    dialog.showModal();
  });
  return asking;
}
