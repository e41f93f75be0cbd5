import { afterEach, describe, test } from "node:test";
import { cases, end } from "./follow_cases.js";

describe("follow", () => {
  afterEach(end);
  for (const [name, body] of Object.entries(cases)) test(name.replaceAll("_", " "), body);
});
