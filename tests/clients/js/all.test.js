// All of them in one process.

import "./follow.test.js";
import "./poll.test.js";
import "./poller.test.js";
import "./react.test.js";
