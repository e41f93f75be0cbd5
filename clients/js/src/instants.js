// Instants as Postgres holds them, from 4713 BC to 294276 AD, and infinite ones: more than Date reads, and finer.

const FORM = /^(\d{4,6})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:Z|\+00)( BC)?$/;
const ORDINARY = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/;
const known = new WeakMap();

/**
 * Microseconds since 1970 of an instant as the API prints it: a BigInt, or Infinity or -Infinity. What cannot be read is
 * before all others. They compare by `<`, whichever of these they are.
 */
export function microseconds(text) {
  if (text === "infinity") return Infinity;
  const found = FORM.exec(text);
  if (found === null) return -Infinity;
  const [, year, month, day, hour, minute, second, fraction = "", before] = found;
  const days = daysSince1970(before ? 1 - Number(year) : Number(year), Number(month), Number(day));
  const seconds = days * 86_400 + Number(hour) * 3600 + Number(minute) * 60 + Number(second);
  return BigInt(seconds) * 1_000_000n + BigInt(fraction.padEnd(6, "0"));
}

/** Whether an event comes before another in the order of the API: timestamp, then id, both descending. */
export function isNewer(a, b) {
  const [one, other] = [instantOf(a), instantOf(b)];
  return one > other || (one === other && a.id > b.id);
}

/** An event's instant in milliseconds since 1970, where it need not be exact; -Infinity and Infinity are among them. */
export function drawnAt(event) {
  return Number(instantOf(event)) / 1000;
}

/** A Date for a number of milliseconds, or for an instant of the years 1 to 9999; null for any other. */
export function asDate(instant) {
  if (typeof instant !== "number" && !ORDINARY.test(instant)) return null;
  const made = new Date(instant);
  return Number.isNaN(made.getTime()) ? null : made;
}

function instantOf(event) {
  if (!known.has(event)) known.set(event, microseconds(event.timestamp));
  return known.get(event);
}

// Of the Gregorian calendar, as Postgres reckons, back beyond its beginning; the year before 1 is 0. Years begin in March
// here, so that a leap day is the last day of its year; 400 years have 146,097 days, whichever they are.
function daysSince1970(year, month, day) {
  const shifted = month > 2 ? year : year - 1;
  const era = Math.floor(shifted / 400), yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}
