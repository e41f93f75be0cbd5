// The banner above every page: the API is away, or the view is behind. It says since when, and counts on.

import { byId, write } from "./page.js";

const EVERY_MS = 1_000;
let timer = null;

/** Show a sentence, and under it what `times()` says now, each second anew; who listens hears the sentence alone. */
export function showBanner(sentence, times = () => "") {
  byId("trouble").hidden = false;
  write(byId("trouble-text"), sentence);
  const tell = () => write(byId("trouble-times"), times());
  clearInterval(timer);
  timer = setInterval(tell, EVERY_MS);
  tell();
}

export function hideBanner() {
  clearInterval(timer);
  timer = null;
  byId("trouble").hidden = true;
  write(byId("trouble-text"), "");
  write(byId("trouble-times"), "");
}
