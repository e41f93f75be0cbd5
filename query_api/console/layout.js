// JSON text laid out in lines, a part at a time: from the text itself, so that every digit stays as it came.

import { afterSpace, closes, endOfValue, opens } from "./client/exact.js";

const DEEPEST = 12; // what lies deeper stays on its line, as it came: no screen has room for more indentation
const STRETCH = 2_048; // long values are handed over in stretches of so many characters

// What is not seen, or turns the direction of what is. Joiners stay: they are part of scripts and of emoji.
const HIDDEN = /[\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\u{e0000}-\u{e0fff}\p{Cs}\p{Noncharacter_Code_Point}]/gu;

// Scripts that are written from right to left, from the first of their letters in a string to the last.
const LEFTWARD = /([\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}](?:[^"\n]*[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}])?)/u;

/**
 * Text in pieces, where each second one is written from right to left. It must be kept apart, else what stands beside it
 * changes sides: of a Hebrew name and its number the number would be shown first.
 */
export function inDirections(text) {
  return text.split(LEFTWARD);
}

/** Text with its hidden characters as JSON's escapes. Within a string of JSON text it means the same. */
export function withEscapes(text) {
  return text.replace(HIDDEN, (found) => found.split("").map(escaped).join(""));
}

const escaped = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** A place at or before `at` where no character is cut in two. */
export function wholeBefore(text, at) {
  const unit = text.charCodeAt(at - 1);
  return at < text.length && unit >= 0xd800 && unit < 0xdc00 ? at - 1 : at;
}

/** Hands over text, a part at a time; a part ends with a line where it can. */
export class PlainText {
  #text; #at = 0;

  constructor(text) {
    this.#text = text;
  }

  /** How many characters of the text have not been handed over. */
  get left() {
    return this.#text.length - this.#at;
  }

  /** The next part, of about so many characters. */
  more(most) {
    const from = this.#at, to = Math.min(this.#text.length, from + most), line = this.#text.lastIndexOf("\n", to - 1) + 1;
    this.#at = line > from && to < this.#text.length ? line : wholeBefore(this.#text, to);
    return withEscapes(this.#text.slice(from, this.#at));
  }
}

/** Hands over JSON text in lines, a part at a time; a part ends with a line where it can. */
export class LinedJson {
  #text; #at = 0; #depth = 0; #copyTo = 0; #due = "";

  constructor(text) {
    this.#text = text.trim();
  }

  get left() {
    return this.#text.length - this.#at + this.#due.length;
  }

  more(most) {
    const parts = [];
    for (let size = 0; this.left > 0 && (size < most || (size < 2 * most && !parts.at(-1).endsWith("\n"))); size += parts.at(-1).length) {
      parts.push(this.#next());
    }
    return parts.join("");
  }

  #next() {
    const due = this.#due;
    this.#due = "";
    return due || (this.#at < this.#copyTo ? this.#stretch() : this.#token());
  }

  #token() {
    const at = afterSpace(this.#text, this.#at), code = this.#text.charCodeAt(at);
    this.#at = at + 1;
    if (opens(code)) return this.#open(at);
    if (closes(code)) return this.#line(-1, "", this.#text[at]);
    if (this.#text[at] === ",") return this.#line(0, ",");
    if (this.#text[at] === ":") return ": ";
    return this.#copy(at);
  }

  #open(at) {
    const next = afterSpace(this.#text, at + 1);
    if (closes(this.#text.charCodeAt(next))) {
      this.#at = next + 1;
      return this.#text[at] + this.#text[next];
    }
    return this.#depth < DEEPEST ? this.#line(1, this.#text[at]) : this.#copy(at);
  }

  // The end of a line; what begins the next one is due.
  #line(deeper, end, begin = "") {
    this.#depth += deeper;
    this.#due = "  ".repeat(this.#depth) + begin;
    return `${end}\n`;
  }

  #copy(at) {
    [this.#at, this.#copyTo] = [at, endOfValue(this.#text, at)];
    return this.#stretch();
  }

  #stretch() {
    const from = this.#at;
    this.#at = Math.min(this.#copyTo, wholeBefore(this.#text, Math.min(this.#text.length, from + STRETCH)));
    return withEscapes(this.#text.slice(from, this.#at));
  }
}
