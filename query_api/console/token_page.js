// The page of a token that names several sessions: which they are, and when it ends. What it says is shown, not checked.

import { claimsOf, isToken } from "./client/credential.js";
import { asDate } from "./client/instants.js";
import { byId, count, dayAndTime, element, uuidIn, write } from "./page.js";

const MOST = 64;

/** The sessions that a token names: their ids, or null where it may read every one, or where this is a key. */
export function sessionsOf(held) {
  const sessions = held !== null && isToken(held) ? (claimsOf(held)?.sessions ?? []) : null;
  if (sessions === null || sessions === "*") return null;
  return Array.isArray(sessions) ? sessions.filter(isId).slice(0, MOST) : [];
}

/** Whether the sessions that a token names have this one among them, however its id is written. */
export function names(sessions, id) {
  return sessions === null || sessions.some((one) => plain(one) === plain(id));
}

/** When a token ends, ms since 1970; null where it does not say, or no calendar reaches so far. */
export function endOf(held) {
  const exp = claimsOf(held)?.exp;
  return Number.isFinite(exp) && asDate(exp * 1000) ? exp * 1000 : null;
}

export class TokenPage {
  open({ held }) {
    const sessions = sessionsOf(held), end = endOf(held);
    write(byId("token-note"), [inWords(sessions), end === null ? "" : `The token ends on ${dayAndTime(end)}.`].join(" ").trim());
    byId("token-sessions").replaceChildren(...(sessions ?? []).map((id) =>
      element("li", {}, element("a", { href: `#${new URLSearchParams({ session: id })}` }, element("code", {}, id)))));
  }

  close() {}
}

function inWords(sessions) {
  if (sessions === null) return "This token reads every session: open one by its id, above.";
  if (!sessions.length) return "This token names no session: ask for a new link.";
  return `This token reads ${count(sessions.length)} ${sessions.length === 1 ? "session" : "sessions"}.`;
}

/** Whether a text is a session's id, as `urn:uuid:…` too. */
export const isId = (id) => typeof id === "string" && uuidIn(id) === id.replace(/^urn:uuid:/i, "");
const plain = (id) => id.toLowerCase().replace("urn:uuid:", "").replaceAll("-", "");
