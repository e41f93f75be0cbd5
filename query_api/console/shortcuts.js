// Single keys, as long as nobody types; they can be switched off, for who speaks to the computer or hits keys by chance.

import { byId } from "./page.js";

const OFF = "readside.shortcuts";

/** What the keys do on the page that is shown: `{ "/": work, j: work, … }`. */
let actions = {};

export function useShortcuts(given) {
  actions = given;
}

const typing = (target) => target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]") !== null;
const switchedOff = () => localStorage.getItem(OFF) === "off";

function press(pressed) {
  if (pressed.ctrlKey || pressed.metaKey || pressed.altKey || pressed.defaultPrevented || byId("help").open) return;
  if (pressed.key === "Escape" && pressed.target.closest?.("details.menu[open]")) closeMenus(pressed.target);
  if (pressed.key === "Escape" && pressed.target === byId("find-text")) pressed.target.blur();
  if (typing(pressed.target) || (switchedOff() && pressed.key !== "Escape")) return;
  const work = pressed.key === "?" ? openHelp : actions[pressed.key];
  if (work && work(pressed) !== false) pressed.preventDefault();
}

export function openHelp() {
  byId("shortcuts-on").checked = !switchedOff();
  byId("help").showModal();
}

// A menu that is left is closed; Escape gives the focus back to what opened it.
function closeMenus(inside) {
  const menu = inside.closest("details.menu");
  menu.open = false;
  menu.querySelector("summary").focus();
}

addEventListener("keydown", press);
addEventListener("pointerdown", ({ target }) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(target)) menu.open = false;
});
byId("open-help").addEventListener("click", openHelp);
byId("close-help").addEventListener("click", () => byId("help").close());
byId("shortcuts-on").addEventListener("change", ({ target }) => {
  if (target.checked) localStorage.removeItem(OFF);
  else localStorage.setItem(OFF, "off");
});
