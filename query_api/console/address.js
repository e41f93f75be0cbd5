// What the address says, and a token in it, which leaves it before anything else happens. This module imports nothing,
// and the page loads it apart from the others: it runs as soon as it is there.

const OURS = new Set(["projection", "sessions", "session", "type"]);
const LONGEST = 65_536;
const LOOKS_SECRET = /[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}/;

let found = cleared();

/** The tokens that stood in the address since this was last asked; by then it holds none. */
export function takeTokens() {
  const taken = [...found, ...cleared()];
  found = [];
  return taken;
}

/** What the address says besides: `#session=…&type=…`. */
export function given() {
  return new URLSearchParams(location.hash.slice(1));
}

// Whatever is not the console's own goes, in whatever form: a token may have been put there wrongly. The entry in the
// history is replaced, not added to.
function cleared() {
  const all = location.hash.length <= LONGEST ? [...given()] : [["token", ""]];
  const kept = all.filter(([name, value]) => OURS.has(name) && !LOOKS_SECRET.test(value));
  if (kept.length < all.length) {
    const hash = kept.length ? `#${new URLSearchParams(kept)}` : "";
    history.replaceState(null, "", location.href.split("#", 1)[0] + hash);
  }
  return all.filter(([name]) => name === "token").map(([, value]) => value);
}
