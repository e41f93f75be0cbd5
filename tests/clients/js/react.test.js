// useSessionEvents on a server, where nothing is followed: a page that is rendered there.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createElement } from "../../../clients/js/node_modules/react/index.js";
import { renderToString } from "../../../clients/js/node_modules/react-dom/server.node.js";
import { useSessionEvents } from "../../../clients/js/react/index.js";

function Events({ id }) {
  const { events, status } = useSessionEvents(id, { baseUrl: "http://api.test/", fetch: () => assert.fail("It asked.") });
  return createElement("p", null, `${status} ${events.length}`);
}

test("a server renders an empty list and asks nothing", () => {
  assert.equal(renderToString(createElement(Events, { id: "some" })), "<p>connecting 0</p>");
  assert.equal(renderToString(createElement(Events, { id: null })), "<p>idle 0</p>");
});
