// Follows a stream with npm's @durable-streams/client as its users do, and writes what happens, one JSON line each:
//
//   {"ids": [...], "offset": "..."}   a batch was given; what comes next comes behind this offset
//   {"anew": "cut" | "gone" | "sse", "offset": "..."}   the client gave up, and the program begins again behind this offset
//   {"failed": 404, "message": "..."}                   the client gave up, and so does the program
//   {"head": {...}}                                     what the client found out by HEAD
//
// The one argument is JSON: {url, headers, offset, live}, or {url, headers, head: true}. It ends when stdin does.
import { DurableStream, stream } from "@durable-streams/client";

const order = JSON.parse(process.argv[2]);
const { url, headers } = order;

function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

// Where to begin again after this error, and by which mode; undefined: nowhere.
function resumed(error, { offset, live }) {
  if (error instanceof TypeError) return { why: "cut", offset, live }; // so fetch says that an answer was cut off
  if (error.status === 410) return { why: "gone", offset: "-1", live };
  if (error.status === 400 && live === "sse") return { why: "sse", offset, live: "long-poll" };
  return undefined;
}

// Gives the offset behind the last batch that was given, and the error that ended it, if one did. The client's own
// `offset` is no place to resume from: it moves before the batch is given.
async function follow({ offset, live }) {
  let behind = offset;
  try {
    const answers = await stream({ url, headers, offset, live });
    answers.subscribeJson((batch) => {
      behind = batch.offset;
      say({ ids: batch.items.map((event) => event.id), offset: behind });
    });
    await answers.closed;
  } catch (error) {
    return { behind, error };
  }
  return { behind };
}

process.stdin.on("end", () => process.exit()).resume();

if (order.head) {
  say({ head: await DurableStream.head({ url, headers }) });
  process.exit();
}
let next = order;
while (next) {
  const { behind, error } = await follow(next);
  if (!error) break;
  next = resumed(error, { offset: behind, live: next.live });
  say(next ? { anew: next.why, offset: next.offset } : { failed: error.status ?? null, message: error.message });
}
process.exit();
