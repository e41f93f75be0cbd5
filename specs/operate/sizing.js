// How much a load needs: arithmetic from measured figures, and no more. bench/scale.py computes the same, and a test compares both.

import { FIGURES } from "./sizing-figures.js";

/** What a core may be used of: the rest is for bursts. */
export const BUSY = 0.7;
/** Of a Redis server: memory that the view may take, and what a network of 1 Gbit/s carries, a second. */
export const MASTER_BYTES = 25e9;
export const MASTER_SENT_BYTES = 100e6;
/** READSIDE_MAX_CONNECTIONS of an API process. */
export const CONNECTIONS = 10_000;
/** READSIDE_WINDOW_EVENTS: so many events of a session are kept hot. */
export const WINDOW_EVENTS = 20_000;
/** Of the events that were measured. */
export const MEASURED_BYTES = 474;
/** What is left free of a Redis: for growth, and for a session that is there twice while it is loaded anew. */
export const SPARE = 1.25;
/** A Redis Cluster has so many masters at least. */
const CLUSTER = 3;
const SLICES = 32;
const BEATS_PER_SECOND = 2;
const READINGS_PER_SECOND = 10;
const NAME_BYTES = 37;

/**
 * Size a load: `sessions` hot, with `eventsEach` events of `bytesEach` bytes; `polls` and `writes` (events) a second; `dashboards` open.
 * Gives numbers: bytes, cores, processes, servers (`needed` for the load, `masters` to run), slices, and parts of a core.
 */
export function size({ sessions, eventsEach, bytesEach, polls, writes, dashboards }, figures = FIGURES) {
  const cost = (name) => figures[name] / 1e6; // µs
  const perSession = sessions > 0 ? writes / sessions : 0;
  const secondsBetween = polls > 0 ? dashboards / polls : 0;
  const changed = 1 - Math.exp(-secondsBetween * perSession);
  const reads = polls * changed; // the others are answered from memory
  const polling = (polls - reads) * cost("from_memory") + reads * cost("from_redis");
  const hearing = writes * cost("hearing"); // each API process hears of every event
  const spare = BUSY - hearing;
  const apiProcesses = Math.max(1, Math.ceil(dashboards / CONNECTIONS), spare > 0 ? Math.ceil(polling / spare) : 0);

  const overhead = figures.memory - MEASURED_BYTES;
  const viewBytes = sessions * Math.min(eventsEach, WINDOW_EVENTS) * (bytesEach + overhead);
  const redisCores = writes * cost("redis") + reads * cost("redis_poll");
  const message = figures.at_rest / (SLICES * BEATS_PER_SECOND);
  const named = sessions > 0 ? sessions * (1 - Math.exp(-perSession / READINGS_PER_SECOND)) : 0;
  const heardBytes = SLICES * (BEATS_PER_SECOND + READINGS_PER_SECOND) * message + READINGS_PER_SECOND * named * NAME_BYTES;
  const needed = Math.max(
    1,
    Math.ceil(Math.max(redisCores / BUSY, viewBytes / MASTER_BYTES, (heardBytes * apiProcesses) / MASTER_SENT_BYTES)),
  );
  const masters = needed === 1 ? 1 : Math.max(CLUSTER, needed);
  return {
    reads,
    apiProcesses,
    apiCores: polling + apiProcesses * hearing,
    viewBytes,
    redisBytes: viewBytes * SPARE,
    redisCores,
    heardBytes,
    needed,
    masters,
    slices: slicesFor(masters),
    projector: writes * cost("projector"),
  };
}

/** One for one Redis; else 32, or more where a master would have fewer than four. */
export function slicesFor(masters) {
  if (masters <= 1) return 1;
  return Math.min(1024, 2 ** Math.max(5, Math.ceil(Math.log2(4 * masters))));
}
