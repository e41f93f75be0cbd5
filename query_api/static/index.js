// Shows where this page was reached, prefix included, in the command to copy.
"use strict";
document.getElementById("base").textContent = new URL(".", location.href).href.replace(/\/$/, "");
