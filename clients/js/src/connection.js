// A session's address, and who asks: what each call of this client is made of.

import { Credential, headersFor, isHeaderText, keyHeaders } from "./credential.js";
import { Unavailable } from "./errors.js";
import { parseAnswer } from "./exact.js";
import { systemClock } from "./loop.js";
import { request } from "./request.js";

// By the function that gives tokens, so that those who share it have its tokens in common, and call it once.
const credentials = new WeakMap();

/** Asks about one session. */
export class Connection {
  #url; #credential; #transport;

  constructor(session, {
    baseUrl, getToken = null, token = null, apiKey = null, parse = parseAnswer,
    fetch = (...given) => globalThis.fetch(...given), clock = systemClock, random = Math.random,
  }) {
    this.#url = new URL(`api/v2/sessions/${segment(session)}/`, base(baseUrl));
    this.#credential = credentialOf(getToken, token, apiKey, { clock, random });
    this.#transport = { fetch, clock, parse };
  }

  /** Whether what is shown next will be good for so long. */
  lasts(seconds) {
    return this.#credential.lasts(seconds);
  }

  /**
   * Ask for `what` of the session. `parameters` are pairs; headers that are null or undefined are left out.
   *
   * A token that was good and is refused has ended: the question is put again with a fresh one.
   */
  async ask(what, { parameters = [], headers = {}, signal, ...options } = {}) {
    const url = new URL(what, this.#url);
    for (const [name, value] of parameters) url.searchParams.append(name, value);
    const known = Object.fromEntries(Object.entries(headers).filter(([, value]) => (value ?? null) !== null));
    for (;;) {
      const shown = await this.#credential.current(signal);
      signal?.throwIfAborted(); // it may have taken long
      try {
        const answer = await request(url, { ...options, headers: { ...known, ...shown }, signal, ...this.#transport });
        this.#credential.accepted(shown);
        return answer;
      } catch (error) {
        if (error.status !== 401 || !this.#credential.renews) throw error;
        if (!this.#credential.refused(error, shown)) throw this.#credential.later();
      }
    }
  }
}

/** How fresh an answer is: `{ asOf, lagMs, source }`, each null where the answer does not say. */
export function freshnessOf(headers) {
  const lag = headers.get("Readside-Lag-Ms");
  return { asOf: headers.get("Readside-As-Of"), lagMs: lag === null ? null : Number(lag), source: headers.get("Readside-Source") };
}

/** The error for an answer that the API does not give. */
export const foreign = (what) => new Unavailable(`Something between the API and here ${what}.`);

/** A header that each answer of the API bears. Throws Unavailable. */
export function required(headers, name) {
  const value = headers.get(name);
  if (value === null) throw foreign(`leaves ${name} out`);
  return value;
}

/** A poll's body. Throws Unavailable. */
export function pageOf(body) {
  if (!Array.isArray(body?.items)) throw foreign("answers with something else than events");
  return body;
}

/** A stream's events. Throws Unavailable. */
export function eventsOf(body) {
  if (!Array.isArray(body)) throw foreign("answers with something else than events");
  return body;
}

/** The parameters for these event types. */
export function typesAsked(types) {
  return (typeof types === "string" ? [types] : types).map((type) => ["event_type", type]);
}

function base(given) {
  if ((given ?? null) === null) throw new TypeError("The option baseUrl says where the API is.");
  const url = new URL(String(given), globalThis.document?.baseURI);
  if (url.username || url.password) throw new TypeError("The option baseUrl names no user and no password: fetch sends none.");
  [url.search, url.hash] = ["", ""];
  url.pathname = url.pathname.replace(/\/*$/, "/");
  return url;
}

// "." and ".." would be taken for steps on the way, however they are escaped.
function segment(session) {
  if (typeof session !== "string" || /^\.*$/.test(session)) throw new TypeError("A session is named by its id.");
  return encodeURIComponent(session);
}

function credentialOf(getToken, token, apiKey, seams) {
  const given = [getToken, token, apiKey].filter((one) => (one ?? null) !== null);
  if (given.length > 1) throw new TypeError("Give one of getToken, token and apiKey.");
  if ((getToken ?? null) === null) return fixedCredential(token ?? null, apiKey ?? null, seams);
  if (typeof getToken !== "function") throw new TypeError("getToken is a function that gives a token.");
  if (!credentials.has(getToken)) credentials.set(getToken, new Credential(getToken, seams));
  return credentials.get(getToken);
}

// What no header holds would fail in fetch, as if the API did not answer.
function fixedCredential(token, apiKey, seams) {
  const text = token ?? apiKey;
  if (text !== null && !isHeaderText(text)) throw new TypeError("The key or token holds what no header can, or nothing.");
  return new Credential(text, { headers: apiKey === null ? headersFor : keyHeaders, ...seams });
}
