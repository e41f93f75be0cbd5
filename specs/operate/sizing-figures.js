// Measured; written by `python -m bench.scale`: µs, bytes, and bytes a second.
export const FIGURES = {
  from_memory: 34.6345, // API: a poll from memory
  from_redis: 97.6003, // API: a poll from Redis
  redis_poll: 59.4043, // Redis: a poll
  projector: 20.1986, // projector: an event, 32 slices
  projector_of_one: 10.6703, // projector: an event, 1 slice
  postgres: 8.8248, // PostgreSQL: an event, read by the projector
  redis: 14.6675, // Redis: an event
  hearing: 4.0572, // each API process: an event that it hears of
  memory: 644.5762, // Redis: memory of an event of 474 bytes
  at_rest: 11481.2048, // messages of 32 slices at rest, to each API process
  at_rest_of_one: 346.7642, // messages of 1 slice at rest, to each API process
};
