// Asking the API: with the key or token that was given, kept for this tab and sent in a header only.

import { headersFor } from "./client/credential.js";
import { parseAnswer } from "./client/exact.js";
import { request } from "./client/request.js";

const KEPT_AS = "readside.key";

/** The service's address, whatever prefix it is reached under. */
export const BASE = new URL("..", import.meta.url);

/** Whether the service asks for a key at all. */
export const keyAsked = document.documentElement.dataset.key === "asked";

// In sessionStorage: a token has left the address, so a reload would lose it otherwise. It is this tab's alone, and gone
// with it; localStorage would give it to every tab, and keep it.
export const key = {
  get: () => sessionStorage.getItem(KEPT_AS),
  keep: (text) => sessionStorage.setItem(KEPT_AS, text),
  forget: () => sessionStorage.removeItem(KEPT_AS),
};

/** Ask below the service's address; gives `{ status, headers, body }`, where the body is JSON. Rejects with a ReadsideError. */
export function answer(path, { method = "GET", headers = {}, signal } = {}) {
  return request(new URL(path, BASE), { method, headers: { ...headers, ...headersFor(key.get()) }, signal, parse: parseAnswer });
}

/** The same, of which only the body is wanted. */
export async function ask(path, options) {
  return (await answer(path, options)).body;
}
