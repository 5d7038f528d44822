// A line between clients and the server's UDP port: what goes to a client passes at a rate, waits in a
// queue that has an end, and may be lost. Bound to an address of its own, which the server announces.

import { createSocket } from 'node:dgram';

/** What waits in front of the line at most; more is dropped, as home routers do. */
const QUEUE_MS = 300;
const TICK_MS = 2;

/** Listens on `host` and the server's port, and passes everything on to the server on `server`. */
export async function relay(port, { host = '127.0.0.2', server = '127.0.0.1', random = Math.random } = {}) {
  const near = createSocket('udp4');
  const clients = new Map();
  let rate = Infinity;
  let loss = 0;

  const counts = { passed: 0, lost: 0, dropped: 0 };

  function arrive(line, datagram) {
    if (random() < loss) {
      counts.lost += 1;
      return;
    }
    const now = performance.now();
    const free = Math.max(now, line.freeAt);
    if (free - now > QUEUE_MS) {
      counts.dropped += 1;
      return;
    }
    line.freeAt = free + (datagram.length + 28) * 8 / (rate / 1_000);
    line.queue.push({ at: line.freeAt, datagram });
  }

  function leave() {
    const now = performance.now();
    for (const line of clients.values()) {
      while (line.queue.length && line.queue[0].at <= now) {
        const { datagram } = line.queue.shift();
        counts.passed += 1;
        near.send(datagram, line.port, line.address);
      }
    }
  }

  near.on('message', (datagram, { address, port: from }) => {
    const key = `${address}:${from}`;
    let line = clients.get(key);
    if (!line) {
      const far = createSocket('udp4');
      line = { address, port: from, far, queue: [], freeAt: 0, isUp: false, early: [] };
      clients.set(key, line);
      far.on('message', (back) => arrive(line, back));
      far.connect(port, server, () => {
        line.isUp = true;
        line.early.splice(0).forEach((it) => far.send(it));
      });
    }
    if (line.isUp) line.far.send(datagram);
    else line.early.push(datagram);
  });
  await new Promise((done, fail) => near.once('error', fail).bind(port, host, done));
  const timer = setInterval(leave, TICK_MS);
  return {
    counts,
    /** Bits a second towards each client. */
    set rate(bitsPerSecond) {
      rate = bitsPerSecond;
    },
    /** The share of datagrams towards clients that is lost. */
    set loss(share) {
      loss = share;
    },
    async close() {
      clearInterval(timer);
      near.close();
      for (const { far } of clients.values()) far.close();
    },
  };
}
