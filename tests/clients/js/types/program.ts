// Every call of the client, as a strict program writes it; and what the types must refuse.

import {
  EventPoller, OffsetLost, ReadsideError, SessionNotFound, Unavailable, claimsOf, follow, followBatches, isNewer, isToken, microseconds,
  poll, warm,
} from "readside-client";
import type { Batch, FollowedEvent, GetToken, JsonValue, Page, SessionEvent, WarmReply } from "readside-client";

const getToken: GetToken = async ({ signal }) => {
  const answer = await fetch("/readside-token", { method: "POST", signal });
  return answer.ok ? answer.text() : null;
};
const access = { baseUrl: "https://readside.example", getToken };

export async function program(session: string, signal: AbortSignal): Promise<string> {
  const warmth: WarmReply = await warm(session, access);
  const first: Page = await poll(session, { ...access, types: ["workflow_failed", "one_that_is_new"], since: new Date(), signal });
  const page = await poll(session, { ...access, previous: first, wait: 20 });
  let offset = "-1";
  try {
    for await (const event of follow(session, { ...access, signal, offset, onState: ({ state, error }) => console.log(state, error?.message) })) {
      const followed: FollowedEvent = event;
      offset = followed.offset;
      const exact: string = event.event_data_json, rounded: JsonValue = event.event_data;
      if (event.event_type === "workflow_completed") return `${exact} ${JSON.stringify(rounded)}`;
    }
    for await (const batch of followBatches(session, { ...access, types: "step_created", page: null })) {
      const whole: Batch = batch;
      console.log(whole.events.length, whole.freshness.asOf ?? "–", whole.upToDate);
    }
  } catch (error) {
    if (error instanceof SessionNotFound || error instanceof OffsetLost) return error.message;
    if (error instanceof Unavailable) return String(error.retryAfterSeconds);
    if (error instanceof ReadsideError) return `${error.status} ${error.final}`;
    throw error;
  }
  return `${warmth.state} ${page.total} ${page.pagination.has_next} ${page.notModified}`;
}

export const poller = new EventPoller({
  ...access, sessionId: "7d444840-9dc0-41d1-b245-5ffdce74fad2", history: "all",
  onEvents: (events: SessionEvent[], { older, restarted }) => console.log(events.sort((a, b) => (isNewer(a, b) ? -1 : 1)), older, restarted),
  onState: ({ state, total, asOf }) => console.log(state, total, asOf),
});
export const instant: bigint | number = microseconds("infinity");
export const claims = isToken("a.b.c") ? claimsOf("a.b.c")?.["sessions"] : null;

// @ts-expect-error: it must be told where the API is
follow("some", {});
// @ts-expect-error: what is sent may be a text or a function, by the option of its name
follow("some", { baseUrl: "/", getToken: "a token" });
// @ts-expect-error: an instant is no number
void poll("some", { baseUrl: "/", since: 5 });
// @ts-expect-error: what the API gave stays as it is
export const changed = (event: SessionEvent) => { event.message = "another"; };
// @ts-expect-error: data is any JSON, so it is looked at before it is used
export const guessed = (event: SessionEvent) => event.event_data.price;
// @ts-expect-error: only what `follow` gave bears an offset
export const nowhere = (event: SessionEvent) => event.offset;
