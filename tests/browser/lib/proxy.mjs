// A TCP proxy before the server whose connections can be cut: the page and its WebSocket go
// through it, media goes to the server's own UDP port and notices nothing.

import net from 'node:net';

/** Listens on a free port and passes every connection on to `port`. */
export async function proxy(port, host = '127.0.0.1') {
  const pairs = new Set();
  let refusing = false;
  let accepted = 0;
  const listener = net.createServer({ noDelay: true }, (near) => {
    near.on('error', () => {});
    if (refusing) return near.resetAndDestroy();
    accepted += 1;
    const far = net.connect({ port, host, noDelay: true });
    const pair = { near, far };
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    far.on('error', end);
    near.on('close', end);
    far.on('close', end);
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise((done, fail) => listener.once('error', fail).listen(0, host, done));
  return {
    port: listener.address().port,
    url: `https://${host}:${listener.address().port}`,
    /** How many connections were taken so far. */
    get accepted() {
      return accepted;
    },
    /** Resets all connections, towards both sides; gives how many there were. */
    cut() {
      const cut = pairs.size;
      for (const { near, far } of [...pairs]) {
        near.resetAndDestroy();
        far.resetAndDestroy();
      }
      return cut;
    },
    /** From now on connections are reset as they come, or taken again. */
    refuse(yes) {
      refusing = yes;
    },
    async close() {
      refusing = true;
      this.cut();
      await new Promise((done) => listener.close(done));
    },
  };
}
