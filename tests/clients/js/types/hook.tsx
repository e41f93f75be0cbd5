// A component, as a strict program writes it.

import type { ReactElement } from "react";
import { useSessionEvents } from "readside-client/react";
import type { SessionEventsStatus } from "readside-client/react";

export function Events({ session, token }: { session: string | null; token: () => Promise<string | null> }): ReactElement {
  const { events, status, error, freshness, total, hasOlder, loadOlder } = useSessionEvents(session, {
    baseUrl: new URL("https://readside.example"), getToken: token, types: ["step_created"], keep: 500, paused: false,
  });
  const told: SessionEventsStatus = status;
  return (
    <section aria-busy={told === "connecting"}>
      <p>{error?.message ?? `${told}, as of ${freshness?.asOf ?? "–"}, ${total ?? 0}`}</p>
      <ol>{events.map((event) => <li key={event.id}>{event.message}</li>)}</ol>
      {hasOlder && <button onClick={() => void loadOlder()}>Older</button>}
    </section>
  );
}

// @ts-expect-error: it must be told where the API is
export const nowhere = () => useSessionEvents("some", {});
