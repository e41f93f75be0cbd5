// What a program does with readside-client: warm, poll, follow until so many events have come, and leave. It prints a line of
// JSON for each, and ends by itself, since nothing of the client keeps Node running.

import { SessionNotFound, follow, poll, warm } from "../../../clients/js/src/index.js";

const [baseUrl, apiKey, session, stranger, count] = process.argv.slice(2);
const access = { baseUrl, apiKey }, abort = new AbortController();
const say = (told) => console.log(JSON.stringify(told));

say({ warm: (await warm(session, access)).session_id });
const first = await poll(session, { ...access, limit: 10 });
say({ poll: first.items.map((event) => event.event_data_json), total: first.total, fresh: Object.values(first.freshness).every((told) => told !== null) });
say({ again: (await poll(session, { ...access, limit: 10, previous: first })).notModified });
say({ held: (await poll(session, { ...access, limit: 10, previous: first, wait: 30 })).total });
let offset = "-1", left = Number(count);
for await (const event of follow(session, { ...access, signal: abort.signal })) {
  say({ event: event.message, data: event.event_data_json });
  offset = event.offset;
  if (--left === 0) abort.abort();
}
for await (const event of follow(session, { ...access, offset })) {
  say({ resumed: event.message });
  break;
}
await poll(stranger, access).catch((error) => say({ stranger: [error instanceof SessionNotFound, error.status, error.message] }));
await follow(stranger, access).next().catch((error) => say({ stranger: [error instanceof SessionNotFound, error.status, error.message] }));
