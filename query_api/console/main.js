// The console: which page is shown, and the key or token that it is shown with.

import { given, takeTokens } from "./address.js";
import { BASE, key, keyAsked } from "./api.js";
import { hideBanner } from "./banner.js";
import { isToken } from "./client/credential.js";
import { announce, byId, set, uuidIn, write } from "./page.js";
import { ProjectionPage } from "./projection.js";
import { SessionPage } from "./session.js";
import "./shortcuts.js";
import { TokenPage, endOf, isId, names, sessionsOf } from "./token_page.js";

const ADVICE = {
  projection: "The projection's state needs a key with the scope ops. With this one you can open a session by its id, above.",
  session: "A session's events need a key with the scope read. With this one you can look at the projection.",
};

const SOON_MS = 60_000; // a clock here may be behind the server's
const ENDED = "This token has ended; ask for a new link.";
const NO_ID = "That is no session's id: an id is a UUID, such as 7d444840-9dc0-41d1-b245-5ffdce74fad2.";
const DAMAGED = "The token in that link is damaged; ask for a new link.";

const pages = {
  projection: new ProjectionPage({ onStopped: stopped }), session: new SessionPage({ onStopped: stopped }), token: new TokenPage(),
};
let current = null;

/** What is held, where it is a token; else null. */
function heldToken() {
  const held = keyAsked ? key.get() : null;
  return held !== null && isToken(held) ? held : null;
}

/** Where an address leads: `#session=…&type=…`, else the projection, or with a token the sessions that it names. */
function place() {
  const asked = given(), held = heldToken(), sessions = sessionsOf(held);
  if (!asked.has("session") && sessions?.length === 1) {
    asked.set("session", sessions[0]);
    history.replaceState(null, "", hashOf(sessions[0], asked.getAll("type"))); // a link that is copied leads there too
  }
  if (asked.has("session")) return { page: "session", id: asked.get("session"), types: asked.getAll("type") };
  return held === null ? { page: "projection" } : { page: "token", held };
}

const hashOf = (id, types = []) => `#${new URLSearchParams([["session", id], ...types.map((type) => ["type", type])])}`;

/** Keep the token of a link in the place of what is held; false where it is none. */
function follow(tokens) {
  if (!keyAsked || !tokens.length) return true;
  const [token, ...others] = new Set(tokens);
  if (others.length || !isToken(token)) return false;
  key.keep(token);
  return true;
}

function show(id) {
  for (const section of byId("content").querySelectorAll(":scope > section")) section.hidden = section.id !== id;
  byId("change-key").hidden = !keyAsked || id === "key-page";
  // A token reads sessions, and nothing else: the projection is not offered, nor asked for.
  byId("to-projection").hidden = heldToken() !== null;
  byId("to-sessions").hidden = heldToken() === null;
}

function leave() {
  const was = current;
  current = null; // whatever closing it may throw
  was?.close();
  hideBanner();
}

function go({ moveFocus = false } = {}) {
  leave();
  if (!follow(takeTokens())) {
    askForKey(DAMAGED);
    return;
  }
  if (keyAsked && key.get() === null) {
    askForKey("");
    return;
  }
  const wanted = place(), held = heldToken();
  document.title = `${{ session: wanted.id?.slice(0, 8), token: "Sessions" }[wanted.page] ?? "Projection"} – readside`;
  set(byId("to-projection"), "aria-current", wanted.page === "projection" ? "page" : null);
  set(byId("to-sessions"), "aria-current", wanted.page === "token" ? "page" : null);
  if (wanted.page === "session" && !isId(wanted.id)) {
    refuseId();
    return;
  }
  if (wanted.page === "session" && !names(sessionsOf(held), wanted.id)) {
    refuse("This token may not see this", `This token does not name the session ${wanted.id.slice(0, 64)}.`, "Ask for a link to that session.");
    return;
  }
  show(`${wanted.page}-page`);
  current = pages[wanted.page];
  current.open(wanted);
  if (moveFocus) {
    byId("content").focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function askForKey(problem) {
  show("key-page");
  document.title = "readside";
  write(byId("key-problem"), problem);
  byId("key").value = "";
  byId("key").focus();
}

// A page has ended: asking again with this key, or for this session, changes nothing.
function stopped(error) {
  const { page } = place();
  leave();
  const token = heldToken();
  if (error.status === 401) {
    key.forget();
    askForKey(token === null ? error.message : (endOf(token) ?? Infinity) <= Date.now() + SOON_MS ? ENDED : `${error.message} Ask for a new link.`);
    return;
  }
  const what = token === null ? "key" : "token", advice = token === null ? ADVICE[page] : "Ask for a new link.";
  const title = { 403: `This ${what} may not see this`, 404: "No such session" }[error.status] ?? "That did not work";
  refuse(title, error.message, error.status === 403 ? advice : "");
}

function refuse(title, reason, advice) {
  show("refused-page");
  write(byId("refused-title"), title);
  write(byId("refused-reason"), reason);
  write(byId("refused-advice"), advice);
  announce(reason);
}

// What stands there is not repeated: it may be a key.
function refuseId() {
  refuse("No such session", NO_ID, "");
}

byId("key-form").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const typed = byId("key").value.trim();
  const text = tokenIn(typed) ?? typed;
  if (!/^[\x21-\x7e]+$/.test(text)) {
    askForKey("That is no key: keys have no spaces, and ASCII characters only.");
    return;
  }
  if (!follow([text])) key.keep(text);
  go({ moveFocus: true });
});

// What is pasted may be a token, or a link that holds one: it goes where a token goes, and into no address.
function tokenIn(text) {
  if (isToken(text)) return text;
  return text.includes("#") ? new URLSearchParams(text.slice(text.indexOf("#") + 1)).get("token") : null;
}

byId("find").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const typed = byId("session-id").value.trim(), token = tokenIn(typed), id = uuidIn(typed);
  byId("session-id").value = "";
  if (!follow(token === null ? [] : [token])) {
    leave();
    askForKey(DAMAGED);
    return;
  }
  if (token === null && id === undefined) { // a key perhaps: it goes into no address
    leave();
    refuseId();
    return;
  }
  const hash = token !== null && id === undefined ? "#sessions" : hashOf(id); // a link holds the id too
  if (location.hash === hash) go({ moveFocus: true });
  else location.hash = hash;
});

byId("change-key").addEventListener("click", () => {
  leave();
  key.forget();
  askForKey("");
});

document.querySelector(".skip").addEventListener("click", (clicked) => {
  clicked.preventDefault(); // the hash is the console's own
  byId("content").focus();
});

write(byId("base"), BASE.href.replace(/\/$/, ""));
// A refused id leaves the address as it was: no hash changes where that very page is asked for.
for (const id of ["to-projection", "to-sessions"]) byId(id).addEventListener("click", () => {
  if (location.hash === byId(id).getAttribute("href")) go({ moveFocus: true });
});
addEventListener("hashchange", () => go({ moveFocus: true }));
go();
