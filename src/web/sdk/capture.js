// Capture: cameras and microphones, opened with good defaults and clear errors.

import { TrackyardError } from './errors.js';

/** A camera of a kind that every device can encode; the browser picks what comes closest. */
const CAPTURE = {
  camera: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
  microphone: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
};

export const kindOf = (source) => (source === 'camera' || source === 'screen' ? 'video' : 'audio');

async function getUserMedia(constraints) {
  const devices = navigator.mediaDevices;
  if (!devices?.getUserMedia) {
    throw new TrackyardError('insecure_context',
      'This page may not use cameras and microphones: open it over https:// or on localhost.');
  }
  return devices.getUserMedia(constraints);
}

const constraintsOf = (source, given) => ({
  ...CAPTURE[source],
  ...(typeof given === 'object' ? given : null),
});

export async function captureOne(source, given) {
  const kind = kindOf(source);
  const wanted = constraintsOf(source, given);
  try {
    return (await getUserMedia({ [kind]: wanted })).getTracks()[0];
  } catch (cause) {
    const error = captureError(cause, source);
    // The device that was chosen may have been unplugged; any other is better than none.
    if (error.code === `no_${source}` && wanted.deviceId) {
      return captureOne(source, { ...wanted, deviceId: undefined });
    }
    throw error;
  }
}

export async function capture({ camera = false, microphone = false } = {}) {
  const result = { camera: null, microphone: null, errors: {} };
  if (camera && microphone) {
    try {
      // Both at once: the browser asks its question only once.
      const stream = await getUserMedia({
        video: constraintsOf('camera', camera),
        audio: constraintsOf('microphone', microphone),
      });
      [result.camera] = stream.getVideoTracks();
      [result.microphone] = stream.getAudioTracks();
      return result;
    } catch {
      // One of them is missing or denied; which one, each says by itself.
    }
  }
  for (const [source, given] of Object.entries({ camera, microphone })) {
    if (!given) continue;
    try {
      result[source] = await captureOne(source, given);
    } catch (error) {
      result.errors[source] = error;
    }
  }
  return result;
}

function captureError(cause, device) {
  if (cause instanceof TrackyardError) return cause;
  switch (cause.name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return new TrackyardError(`${device}_denied`,
        `The ${device} is blocked. Allow it in the browser's address bar and try again.`, cause);
    case 'NotFoundError':
    case 'OverconstrainedError':
      return new TrackyardError(`no_${device}`, `No ${device} was found.`, cause);
    default:
      return new TrackyardError(`${device}_busy`,
        `The ${device} cannot be opened. Another program may be using it.`, cause);
  }
}

/** What captures this track's device again; `false` for a track that no device gives. */
export function recaptureOf(track, source) {
  if (!CAPTURE[source]) return false;
  if (globalThis.CanvasCaptureMediaStreamTrack
    && track instanceof CanvasCaptureMediaStreamTrack) return false;
  const constraints = { ...track.getConstraints() };
  const { deviceId } = track.getSettings();
  if (deviceId) constraints.deviceId = { exact: deviceId };
  return constraints;
}
