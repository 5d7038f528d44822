// Errors: what goes wrong, each with a stable code and a sentence for people.

export class TrackyardError extends Error {
  constructor(code, message, cause) {
    super(message, cause ? { cause } : undefined);
    this.name = 'TrackyardError';
    this.code = code;
  }
}

export const lost = () => new TrackyardError('connection_lost', 'The connection to the server was lost.');
export const unreachable = () => new TrackyardError('server_unreachable',
  'The server cannot be reached. Check the network, and that the server is running.');
