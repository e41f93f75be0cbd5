// A page without a browser: elements that remember what they are told, an address, and an API that a case answers for.

export class StandIn {
  #heard = new Map(); #attributes = new Map(); #found = new Map();
  children = []; dataset = {}; style = {}; rows = []; textContent = ""; value = ""; hidden = false; disabled = false; open = false;
  classList = { contains: () => false, toggle() {} };

  addEventListener(name, work) { this.#heard.set(name, work); }
  happens(name, event = {}) { return this.#heard.get(name)({ target: this, preventDefault() {}, ...event }); }
  setAttribute(name, value) { this.#attributes.set(name, String(value)); }
  getAttribute(name) { return this.#attributes.get(name) ?? null; }
  removeAttribute(name) { this.#attributes.delete(name); }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  insertBefore(child) { this.children.push(child); }
  querySelector(selector) {
    if (!this.#found.has(selector)) this.#found.set(selector, new StandIn());
    return this.#found.get(selector);
  }
  querySelectorAll() { return []; }
  getBoundingClientRect() { return { top: 0, bottom: 0, width: 0, height: 0 }; }
  closest() { return null; }
  contains() { return false; }
  remove() {}
  focus() {}
  blur() {}
  get tHead() { return this.querySelector("thead"); }
  get tBodies() { return [this.querySelector("tbody")]; }
  get parentElement() { return this.querySelector(".."); }
}

class Kept extends Map {
  getItem(name) { return this.get(name) ?? null; }
  setItem(name, text) { this.set(name, text); }
  removeItem(name) { this.delete(name); }
}

const root = new StandIn(), heard = new Map();
export const byId = (id) => root.querySelector(`#${id}`);

/** Requests that wait: each is a `{ url, options, give(response) }`. */
export const asked = [];

/** What the elements of these ids, as far as any module has asked for them, say. */
export const said = (...ids) => ids.map((id) => byId(id).textContent);

/** Go to an address of the console as its links do: where one stands already, nothing is heard. */
export function visit(hash) {
  if (location.hash === hash) return;
  location.hash = hash;
  location.href = `http://console.test/${hash}`;
  heard.get("hashchange")();
}

/** All that is ready has happened. */
export const settled = () => new Promise((done) => setTimeout(done));

/** What a look gives once that is something. */
export async function until(look) {
  for (const end = Date.now() + 30_000; Date.now() < end; await new Promise((done) => setTimeout(done, 5))) {
    const found = look();
    if (found) return found;
  }
  throw new Error(`It never came: ${look}`);
}

Object.assign(globalThis, {
  document: Object.assign(new StandIn(), {
    getElementById: byId, createElement: () => new StandIn(), createElementNS: () => new StandIn(), documentElement: root, body: new StandIn(),
    baseURI: "http://console.test/", visibilityState: "visible", activeElement: null, removeEventListener() {},
  }),
  location: { hash: "", href: "http://console.test/" }, history: { replaceState() {} },
  sessionStorage: new Kept(), localStorage: new Kept(),
  ResizeObserver: class { observe() {} },
  addEventListener: (name, work) => heard.set(name, work),
  requestAnimationFrame: (work) => setTimeout(work), getComputedStyle: () => ({ fontSize: "15px" }),
  getSelection: () => "", scrollTo() {}, innerHeight: 100,
  fetch: (url, options) => new Promise((give, refuse) => {
    options.signal?.addEventListener("abort", () => refuse(options.signal.reason));
    asked.push({ url: new URL(url), options, give });
  }),
});
root.dataset.key = "asked";
sessionStorage.setItem("readside.key", "k".repeat(20));
