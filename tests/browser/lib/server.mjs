// Trackyard itself, as a process of its own, on loopback and on a port of its own.

import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtemp, rm } from 'node:fs/promises';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './poll.mjs';

const REPOSITORY = resolve(fileURLToPath(import.meta.url), '../../../..');
export const BINARY = resolve(REPOSITORY, process.env.TRACKYARD_BIN ?? 'target/ci/trackyard');
export const WORKERS = Number(process.env.TRACKYARD_WORKERS ?? 1);

const running = new Set();
process.once('exit', () => running.forEach((server) => server.killNow()));

/**
 * Starts the server and waits until it answers. Options: `workers`, `args` on top, `port` and
 * `dir` of a server that ran before (its certificate is there).
 */
export async function start({ workers = WORKERS, args = [], port, dir } = {}) {
  const server = new Server(port ?? (await freePort()), dir ?? (await mkdtemp(join(tmpdir(), 'trackyard-test-'))));
  await server.run(['--listen', `127.0.0.1:${server.port}`, '--workers', String(workers), ...args]);
  return server;
}

/** Ends every server that this process started and that is still there. */
export async function stopAll() {
  await Promise.all([...running].map((server) => server.kill()));
}

class Server {
  #child;
  #exited;

  constructor(port, dir) {
    this.port = port;
    this.dir = dir;
    this.log = [];
  }

  get url() {
    return `https://127.0.0.1:${this.port}`;
  }

  async run(args) {
    this.args = args;
    running.add(this);
    const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('TRACKYARD_')));
    const child = spawn(BINARY, args, { cwd: this.dir, env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    this.#exited = new Promise((done) => {
      child.once('error', (error) => done(`not started: ${error.message}`));
      child.once('exit', (code, signal) => done(signal ?? `exit code ${code}`));
    });
    let ended = null;
    this.#exited.then((how) => (ended = how));
    for (const stream of [child.stdout, child.stderr]) {
      let rest = '';
      stream.setEncoding('utf8').on('data', (text) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop();
        this.log.push(...lines);
      });
    }
    await until(
      `${BINARY} to answer`,
      async () => {
        if (ended) throw new Error(`the server ended (${ended}):\n${this.tail()}`);
        return (await this.get('/healthz').catch(() => null))?.status === 200;
      },
      { deadline_ms: 15_000, seen: () => this.tail() },
    );
  }

  /** `GET path`, the certificate unread. */
  get(path) {
    return request(`${this.url}${path}`);
  }

  /** The last lines of its log. */
  tail(lines = 40) {
    return this.log.slice(-lines).join('\n');
  }

  /** Where the log is now; `since(mark)` gives what came after. */
  mark() {
    return this.log.length;
  }

  since(mark) {
    return this.log.slice(mark);
  }

  /** SIGTERM, and waits for the end; gives how it ended. */
  async stop({ deadline_ms = 10_000 } = {}) {
    this.#child.kill('SIGTERM');
    let how = null;
    this.#exited.then((it) => (how = it));
    try {
      await until('the server to end after SIGTERM', () => how, { deadline_ms, seen: () => this.tail() });
    } finally {
      await this.kill();
    }
    return how;
  }

  /** SIGKILL: no word to anybody. The folder stays for a server that comes after. */
  async crash() {
    this.#child.kill('SIGKILL');
    await this.#exited;
    running.delete(this);
  }

  /** Comes back on the same port with the same certificate and arguments. */
  async again() {
    const log = this.log;
    await this.run(this.args);
    this.log = log;
  }

  killNow() {
    this.#child.kill('SIGKILL');
  }

  async kill() {
    if (!running.delete(this)) return;
    this.#child.kill('SIGKILL');
    await this.#exited;
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** One HTTPS request; gives `{ status, headers, body }`. */
export function request(url, { method = 'GET', headers = {}, body } = {}) {
  return new Promise((done, fail) => {
    const call = https.request(url, { method, headers, rejectUnauthorized: false, agent: false, timeout: 5_000 });
    call.on('error', fail);
    call.on('timeout', () => call.destroy(new Error(`${method} ${url}: no answer in 5 s`)));
    call.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part) => (text += part));
      response.on('error', fail);
      response.on('end', () => done({ status: response.statusCode, headers: response.headers, body: text }));
    });
    call.end(body);
  });
}

/** A port that nobody has, on TCP and on UDP. */
export async function freePort(host = '127.0.0.1') {
  for (let attempt = 0; attempt < 20; attempt++) {
    const listener = net.createServer();
    await new Promise((done, fail) => listener.once('error', fail).listen(0, host, done));
    const { port } = listener.address();
    const socket = createSocket('udp4');
    const free = await new Promise((done) => {
      socket.once('error', () => done(false));
      socket.bind(port, host, () => done(true));
    });
    await new Promise((done) => (free ? socket.close(done) : done()));
    await new Promise((done) => listener.close(done));
    if (free) return port;
  }
  throw new Error('no port is free on both TCP and UDP');
}
