// What makes Firefox send and receive H.264 with what the system has: libavcodec and libx264.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { resolve } from 'node:path';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const TARGET = resolve(HERE, '../../../target/browser-tests');

export const PREFS = {
  // H.264 is in Firefox's offers only with the plugin, or with a "hardware" encoder: say there is one.
  'gfx.blacklist.webrtc.hw.acceleration.h264': 1,
  'media.webrtc.hw.h264.enabled': true,
  // Encode through the platform (libavcodec) before Firefox's own.
  'media.webrtc.encoder_creation_strategy': 1,
  'media.ffmpeg.encoder.enabled': true,
  'media.navigator.mediadatadecoder_h264_enabled': true,
};

/** Builds the library that Firefox is to be started with, and gives the environment for it. */
export function environment() {
  const folders = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib'];
  const builds = folders.flatMap((folder) => {
    try {
      return readdirSync(folder).map((file) => file.match(/^libx264\.so\.(\d+)$/)?.[1]).filter(Boolean);
    } catch {
      return [];
    }
  });
  if (!builds.length) throw new Error('libx264 is not installed: Firefox cannot encode H.264 (see tests/all)');
  mkdirSync(TARGET, { recursive: true });
  const library = resolve(TARGET, 'x264_now.so');
  execFileSync('cc', ['-shared', '-fPIC', '-O1', `-DX264_BUILD=${builds[0]}`, '-o', library, resolve(HERE, 'x264_now.c'), '-ldl']);
  return { LD_PRELOAD: library };
}
