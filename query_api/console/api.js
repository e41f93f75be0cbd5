// Asking the API: with the key that was given, kept for the browser session and sent in a header only.

import { request } from "./poller.js";

const KEPT_AS = "readside.key";

/** The service's address, whatever prefix it is reached under. */
export const BASE = new URL("..", import.meta.url);

/** Whether the service asks for a key at all. */
export const keyAsked = document.documentElement.dataset.key === "asked";

export const key = {
  get: () => sessionStorage.getItem(KEPT_AS),
  keep: (text) => sessionStorage.setItem(KEPT_AS, text),
  forget: () => sessionStorage.removeItem(KEPT_AS),
};

/** Ask for JSON below the service's address; rejects with a PollError. */
export async function ask(path, { method = "GET", signal } = {}) {
  const held = key.get();
  const headers = held === null ? {} : { "X-API-Key": held };
  return (await request(new URL(path, BASE), { method, headers, signal })).body;
}
