// Waiting for a condition, never for a time.

import { cpus } from 'node:os';

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

/**
 * Measures until three of at most five rounds took less than `limit_ms`: one slow round may be the
 * machine's (two cores carry server, browsers and test), most rounds are the server's. A round gives
 * how long it took, and what was allowed just then where that was not `limit_ms`.
 */
export async function mostlyWithin(limit_ms, measure) {
  const all = [];
  while (all.length < 5) {
    const [ms, allowed = limit_ms] = [await measure()].flat().map(Math.round);
    all.push({ ms, allowed });
    if (all.filter((round) => round.ms < round.allowed).length >= 3) return all.map((round) => round.ms);
  }
  throw new Error(`took ${all.map(({ ms, allowed }) => `${ms} of ${allowed}`).join(', ')} ms`);
}

/**
 * Waits until the machine has had `share` of its processors' time to spare for a while: opening a page
 * keeps a browser's processes busy for a second after the page itself is there, and a time taken then
 * is theirs. Goes on after `deadline_ms`, since a machine may be busy with other things for good.
 */
export async function calm({ share = 0.4, deadline_ms = 8_000 } = {}) {
  const end = performance.now() + deadline_ms;
  let last = spent();
  while (performance.now() < end) {
    await sleep(300);
    const now = spent();
    if (now.idle - last.idle > share * (now.all - last.all)) return;
    last = now;
  }
}

function spent() {
  const times = cpus().flatMap((cpu) => Object.entries(cpu.times));
  const sum = (those) => those.reduce((all, [, ms]) => all + ms, 0);
  return { idle: sum(times.filter(([what]) => what === 'idle')), all: sum(times) };
}

export const describe = (value) => (typeof value === 'string' ? value : JSON.stringify(value));
