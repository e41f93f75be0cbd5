// The calculator of the page "Sizing": reads the fields, and writes what they come to. It asks no server for anything.

import { size } from "./sizing.js";

const form = document.getElementById("calculator");
const shown = {
  redisMemory: (sized) => sized.masters === 1 ? gigabytes(sized.redisBytes) : `${gigabytes(sized.redisBytes)}: ${gigabytes(sized.redisBytes / sized.masters)} each`,
  masters: (sized) => `${sized.masters} (${sized.redisCores.toFixed(1)} cores busy)`,
  slices: (sized) => String(sized.slices),
  apiProcesses: (sized) => `${sized.apiProcesses} (${sized.apiCores.toFixed(1)} cores busy)`,
  hotLimit: (_, load) => String(Math.max(20_000, Math.ceil(load.sessions * 1.25))),
  projector: (sized) =>
    sized.projector > 1
      ? `${Math.round(sized.projector * 100)} % of a core: more than one projector can read`
      : `${Math.round(sized.projector * 100)} % of a core`,
};

function gigabytes(bytes) {
  return bytes < 1e9 ? `${Math.ceil(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

function update() {
  const load = {};
  for (const input of form.querySelectorAll("input")) {
    load[input.name] = Math.max(0, Number(input.value) || 0);
  }
  const sized = size(load);
  for (const [name, text] of Object.entries(shown)) {
    form.querySelector(`output[name=${name}]`).textContent = text(sized, load);
  }
}

form.hidden = false;
form.addEventListener("input", update);
form.addEventListener("submit", (event) => event.preventDefault());
update();
