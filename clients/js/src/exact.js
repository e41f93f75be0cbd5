// A poll's answer with the JSON text of each event's data as it came. JavaScript rounds long numbers, writes 1.10 as 1.1,
// and whatever walks JSON by recursion ends at some depth: so what is shown is the text, and nothing here recurses.

const QUOTE = 34, BACKSLASH = 92;
const MEMBER = '"event_data"';
const SPACE = /\s/;

/**
 * Parse a poll's answer, or a stream's. Each event has what JSON.parse gives of it, and `event_data_json`, which is not enumerable: the
 * JSON text of its `event_data`, digit for digit. `event_data` is parsed when it is first read.
 */
export function parseAnswer(text) {
  const parts = [];
  let from = 0;
  for (const [start, end] of payloadsIn(text)) {
    // As a JSON string, so that what is kept is a copy: a slice would keep the whole answer in memory.
    parts.push(text.slice(from, start), JSON.stringify(text.slice(start, end)));
    from = end;
  }
  const answer = JSON.parse(parts.join("") + text.slice(from));
  const events = answer?.items ?? answer;
  if (Array.isArray(events)) for (const event of events) if (typeof event?.event_data === "string") keepText(event);
  return answer;
}

/** Where the value that begins at `at` ends, in JSON text. */
export function endOfValue(text, at) {
  for (let depth = 0; at < text.length; ) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    else if (depth === 0 && !opens(code)) at = endOfWord(text, at);
    else {
      depth += opens(code) - closes(code);
      at += 1;
    }
    if (depth === 0) return at;
  }
  throw new SyntaxError("The JSON text ends too early.");
}

/** Whether a character's code opens an object or an array, or closes one. */
export const opens = (code) => code === 123 || code === 91;
export const closes = (code) => code === 125 || code === 93;

/** Where the first character stands, from `at` on, that is no space. */
export function afterSpace(text, at) {
  while (at < text.length && SPACE.test(text[at])) at += 1;
  return at;
}

function* payloadsIn(text) {
  const deep = text.startsWith("[") ? 2 : 3; // [{… of a stream, {"items": [{… of a poll
  for (let depth = 0, at = 0; at < text.length; ) {
    const code = text.charCodeAt(at);
    if (code !== QUOTE) {
      depth += opens(code) - closes(code);
      at += 1;
      continue;
    }
    const end = endOfString(text, at), colon = afterSpace(text, end);
    if (depth === deep && text.startsWith(MEMBER, at) && text[colon] === ":") {
      const start = afterSpace(text, colon + 1);
      at = endOfValue(text, start);
      yield [start, at];
    } else at = end;
  }
}

function endOfString(text, at) {
  for (let end = text.indexOf('"', at + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let before = end - 1;
    while (text.charCodeAt(before) === BACKSLASH) before -= 1;
    if ((end - before) % 2 === 1) return end + 1;
  }
  throw new SyntaxError("A string of the JSON text has no end.");
}

// A number, true, false or null.
function endOfWord(text, at) {
  while (at < text.length && !closes(text.charCodeAt(at)) && text[at] !== "," && !SPACE.test(text[at])) at += 1;
  return at;
}

function keepText(event) {
  const text = event.event_data;
  const hold = (value) => Object.defineProperty(event, "event_data", { value, enumerable: true, configurable: true, writable: true });
  Object.defineProperty(event, "event_data_json", { value: text, configurable: true });
  Object.defineProperty(event, "event_data", {
    get: () => hold(JSON.parse(text)).event_data, set: hold, enumerable: true, configurable: true,
  });
}
