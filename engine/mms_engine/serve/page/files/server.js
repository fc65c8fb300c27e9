// Requests to the server, its errors, and the API key.

import { byId } from "./dom.js";

const NETWORK = "The server cannot be reached.";

/** An answer other than success, with the server's message. */
export class ServerError extends Error {
  constructor(message, { status = 0, code = "", retryAfter = 0 } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** Return the error of an envelope, or of a status without one. */
export function serverError(status, text, retryAfter = 0) {
  try {
    const { message, code } = JSON.parse(text).error;
    return new ServerError(sentence(message), { status, code: code ?? "", retryAfter });
  } catch {
    return new ServerError(`The server answered with status ${status}.`, { status, retryAfter });
  }
}

/** Return a message of the server as a sentence. */
export function sentence(message) {
  const text = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

/** Return the address of a route, beside this page. */
export const address = (path) => new URL(path, document.baseURI);

export const key = {
  get: () => sessionStorage.getItem("key") ?? "",
  set: (value) => sessionStorage.setItem("key", value),
};

/** Return the headers that carry the key, where there is one. */
export function keyHeaders() {
  return key.get() ? { Authorization: `Bearer ${key.get()}` } : {};
}

/** Return a successful response; asks for a key where the server wants one. */
export async function request(path, options = {}) {
  for (;;) {
    let response;
    try {
      const headers = { ...options.headers, ...keyHeaders() };
      response = await fetch(address(path), { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServerError(NETWORK);
    }
    if (response.ok) return response;
    const seconds = Number(response.headers.get("Retry-After") ?? 0);
    const failure = serverError(response.status, await response.text(), seconds);
    if (response.status !== 401 || !(await askForKey(failure.message))) throw failure;
  }
}

/** Return the JSON of a route. */
export const getJson = async (path) => (await request(path)).json();

/** Send a form with its progress; returns the parsed JSON. */
export function upload(path, form, { progress, signal }) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open("POST", address(path));
    for (const [name, value] of Object.entries(keyHeaders())) call.setRequestHeader(name, value);
    call.upload.onprogress = (event) => progress(event.loaded / event.total);
    call.onload = () => {
      if (call.status === 200) resolve(JSON.parse(call.responseText));
      else reject(serverError(call.status, call.responseText));
    };
    call.onerror = () => reject(new ServerError(NETWORK));
    call.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => call.abort());
    call.send(form);
  });
}

let asking = null;

/** Ask for a key; several requests ask once. Returns whether one was given. */
export function askForKey(reason) {
  asking ??= new Promise((resolve) => {
    const dialog = byId("key-dialog");
    byId("key-reason").textContent = reason;
    byId("key").value = "";
    byId("key-cancel").onclick = () => dialog.close();
    dialog.returnValue = "";
    dialog.addEventListener(
      "close",
      () => {
        const given = byId("key").value.trim();
        const isGiven = dialog.returnValue === "use" && given !== "";
        if (isGiven) key.set(given);
        asking = null;
        resolve(isGiven);
      },
      { once: true },
    );
    dialog.showModal();
  });
  return asking;
}

/** Return the server's state: `ready`, `loading`, `draining`, `failed` or `unreachable`. */
export async function stateOfServer() {
  try {
    const response = await fetch(address("health/ready"));
    return (await response.json()).status;
  } catch {
    return "unreachable";
  }
}

/** Wait until the server is ready; `report` gets its state each time it is not. */
export async function untilReady(report) {
  for (;;) {
    const state = await stateOfServer();
    if (state === "ready") return;
    report(state);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
