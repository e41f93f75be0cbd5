// The console: which page is shown, and the key that it is shown with.

import { BASE, key, keyAsked } from "./api.js";
import { announce, byId, set, write } from "./page.js";
import { ProjectionPage } from "./projection.js";
import { SessionPage } from "./session.js";

const SESSION_ID = /[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}/i;
const ADVICE = {
  projection: "The projection's state needs a key with the scope ops. With this one you can open a session by its id, above.",
  session: "A session's events need a key with the scope read. With this one you can look at the projection.",
};

const pages = { projection: new ProjectionPage({ onStopped: stopped }), session: new SessionPage({ onStopped: stopped }) };
let current = null;

/** Where an address leads: `#session=…&type=…`, or the projection. */
function place() {
  const given = new URLSearchParams(location.hash.slice(1));
  return given.has("session") ? { page: "session", id: given.get("session"), types: given.getAll("type") } : { page: "projection" };
}

function show(id) {
  for (const section of byId("content").querySelectorAll(":scope > section")) section.hidden = section.id !== id;
  byId("change-key").hidden = !keyAsked || id === "key-page";
}

function leave() {
  current?.close();
  current = null;
  trouble(null);
}

function go({ moveFocus = false } = {}) {
  leave();
  if (keyAsked && key.get() === null) {
    askForKey("");
    return;
  }
  const wanted = place();
  document.title = wanted.page === "session" ? `${wanted.id.slice(0, 8)} – readside` : "Projection – readside";
  set(byId("to-projection"), "aria-current", wanted.page === "projection" ? "page" : null);
  show(`${wanted.page}-page`);
  current = pages[wanted.page];
  current.open(wanted, trouble);
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
  if (error.status === 401) {
    key.forget();
    askForKey(error.message);
    return;
  }
  show("refused-page");
  write(byId("refused-title"), { 403: "Not with this key", 404: "No such session" }[error.status] ?? "That did not work");
  write(byId("refused-reason"), error.message);
  write(byId("refused-advice"), error.status === 403 ? ADVICE[page] : "");
  announce(error.message);
}

function trouble(text) {
  byId("trouble").hidden = text === null;
  write(byId("trouble"), text ?? "");
}

byId("key-form").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const given = byId("key").value.trim();
  if (!/^[\x21-\x7e]+$/.test(given)) {
    askForKey("That is no key: keys have no spaces, and ASCII characters only.");
    return;
  }
  key.keep(given);
  go({ moveFocus: true });
});

byId("find").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const given = byId("session-id").value.trim();
  const id = SESSION_ID.exec(given)?.[0] ?? given; // a link that was pasted holds the id too
  byId("session-id").value = "";
  location.hash = new URLSearchParams({ session: id });
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
addEventListener("hashchange", () => go({ moveFocus: true }));
go();
