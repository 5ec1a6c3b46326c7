import { expect, test } from 'vitest'
import { chunkBytesFor } from './chunk-size.ts'

const KIB = 1024
const GIB = 1024 ** 3

test.each([
  ['no disk', 256 * KIB, [], 256 * KIB],
  ['a disk of a million chunks', 256 * KIB, [256 * GIB], 256 * KIB],
  ['one that is a little longer', 256 * KIB, [256 * GIB + 512], 512 * KIB],
  ['the largest of several', 256 * KIB, [8 * GIB, 1024 * GIB, 40 * GIB], 1024 * KIB],
  ['the largest that vSphere has', 256 * KIB, [62 * 1024 * GIB], 8192 * KIB],
  ['a repository that wants larger ones', 4096 * KIB, [GIB], 4096 * KIB],
])('%s', (_what, repositoryChunkBytes, capacities, expected) => {
  const disks = capacities.map(capacityBytes => ({ capacityBytes }))
  expect(chunkBytesFor(repositoryChunkBytes, disks)).toBe(expected)
})
