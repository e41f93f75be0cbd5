// JSON with every digit of its numbers, where the browser can: JSON.parse alone rounds them past 2^53.

const LONG_NUMBER = /[:[,]\s*-?[0-9][0-9.eE+-]{15,}/;
const ABLE = typeof JSON.rawJSON === "function";

/** Parse JSON. A number that JavaScript cannot hold becomes a raw one, which JSON.stringify writes as it came. */
export function parseExactly(text) {
  return ABLE && LONG_NUMBER.test(text) ? JSON.parse(text, keep) : JSON.parse(text);
}

function keep(_, value, { source } = {}) {
  return typeof value === "number" && source !== undefined && String(value) !== source ? JSON.rawJSON(source) : value;
}
