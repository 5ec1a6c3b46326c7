/** More chunks than this make the lists of a disk long: 32 MiB in memory while it is captured. */
const CHUNKS_MAX = 2 ** 20
const CHUNK_BYTES_MAX = 8 * 1024 * 1024

/**
 * The size of the chunks that a VM's disks are cut into, all of them alike: what the repository says, doubled until the
 * largest disk has a million chunks at most. Decision 26 has the figures.
 */
export function chunkBytesFor(
  repositoryChunkBytes: number,
  disks: readonly { capacityBytes: number }[],
): number {
  const largestBytes = Math.max(0, ...disks.map(disk => disk.capacityBytes))
  let chunkBytes = repositoryChunkBytes
  while (largestBytes > chunkBytes * CHUNKS_MAX && chunkBytes < CHUNK_BYTES_MAX) chunkBytes *= 2
  return chunkBytes
}
