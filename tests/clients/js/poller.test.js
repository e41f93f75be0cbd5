import { afterEach, describe, test } from "node:test";
import { cases, end } from "./poller_cases.js";

describe("EventPoller", () => {
  afterEach(end);
  for (const [name, body] of Object.entries(cases)) test(name.replaceAll("_", " "), body);
});
