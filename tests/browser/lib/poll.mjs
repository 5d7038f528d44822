// Waiting for a condition, never for a time.

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Asks `condition` every `every_ms` until it gives something truthy, and gives that. Throws after
 * `deadline_ms` with what it waited for, and with what it last saw (`seen()`, when given).
 */
export async function until(what, condition, { deadline_ms = 10_000, every_ms = 50, seen } = {}) {
  const end = performance.now() + deadline_ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() >= end) {
      const last = seen ? `; last seen: ${describe(await seen())}` : '';
      throw new Error(`waited ${deadline_ms} ms for ${what}${last}`);
    }
    await sleep(every_ms);
  }
}

/**
 * Asks `sample` every `every_ms` for `for_ms`, and throws as soon as `holds(sample)` is false:
 * for what must stay as it is ("no tile is lost while…").
 */
export async function throughout(what, sample, holds, { for_ms, every_ms = 100 }) {
  const end = performance.now() + for_ms;
  const samples = [];
  do {
    const value = await sample();
    samples.push(value);
    if (!holds(value)) throw new Error(`${what}: no longer so: ${describe(value)}`);
    await sleep(every_ms);
  } while (performance.now() < end);
  return samples;
}

export const describe = (value) => (typeof value === 'string' ? value : JSON.stringify(value));
