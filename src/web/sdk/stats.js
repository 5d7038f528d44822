// Statistics: a small digest of what `getStats()` reports.

/** What a person wants to know of `getStats()`. */
export function digest(report, pc, table, publications) {
  const entries = [...report.values()];
  const transport = entries.find(({ type }) => type === 'transport');
  const pair = report.get(transport?.selectedCandidatePairId)
    ?? entries.find(({ type, nominated, state }) => (
      type === 'candidate-pair' && nominated && state === 'succeeded'));
  const at = (id) => {
    const candidate = report.get(id);
    return candidate ? `${candidate.address ?? candidate.ip ?? ''}:${candidate.port}` : null;
  };
  const common = (entry) => ({
    kind: entry.kind,
    mid: entry.mid ?? null,
    codec: report.get(entry.codecId)?.mimeType?.split('/')[1] ?? null,
    width: entry.frameWidth ?? 0,
    height: entry.frameHeight ?? 0,
    framesPerSecond: entry.framesPerSecond ?? 0,
  });
  const slots = new Map(pc.getTransceivers().map((line) => [line.receiver.track.id, line]));
  const received = entries.filter(({ type }) => type === 'inbound-rtp').map((entry) => {
    const mid = entry.mid ?? slots.get(entry.trackIdentifier)?.mid ?? null;
    return {
      ...common(entry),
      mid,
      track: table.get(mid) ?? null,
      bytes: entry.bytesReceived ?? 0,
      packets: entry.packetsReceived ?? 0,
      lost: entry.packetsLost ?? 0,
      frames: entry.framesDecoded ?? 0,
      keyFrames: entry.keyFramesDecoded ?? 0,
      audioEnergy: entry.totalAudioEnergy ?? 0,
    };
  });
  const sent = entries.filter(({ type }) => type === 'outbound-rtp').map((entry) => ({
    ...common(entry),
    source: publications.find(({ mid }) => mid !== null && mid === entry.mid)?.source ?? null,
    bytes: entry.bytesSent ?? 0,
    packets: entry.packetsSent ?? 0,
    frames: entry.framesEncoded ?? 0,
    keyFrames: entry.keyFramesEncoded ?? 0,
  }));
  return {
    roundTripMs: pair?.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000,
    pair: pair ? { local: at(pair.localCandidateId), remote: at(pair.remoteCandidateId) } : null,
    sent,
    received,
  };
}
