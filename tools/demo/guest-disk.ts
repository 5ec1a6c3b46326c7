import { execFile } from 'node:child_process'
import { createCipheriv, createHash } from 'node:crypto'
import { copyFile, mkdir, open, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { LabControl, LabDiskRef } from '../../tests/support/lab-control.ts'

const run = promisify(execFile)
const MIB = 1024 * 1024
/** Granularity at which vSphere tracks changes; what a guest writes is sent in such pieces. */
const PIECE_BYTES = 64 * 1024

/** Makes a raw disk with an ext4 file system on it, which holds `dataMib` of files: half noise, half text. */
export async function makeGuestDisk(
  image: string,
  { sizeMib, dataMib, label }: { sizeMib: number; dataMib: number; label: string },
): Promise<void> {
  const tree = `${image}.tree`
  await mkdir(join(tree, 'srv', label), { recursive: true })
  await writeFile(join(tree, 'srv', label, 'README'), `The data of ${label}.\n`)
  for (let file = 0; file * 4 < dataMib; file += 1) {
    await writeFile(join(tree, 'srv', label, `part-${file}.bin`), fileContent(`${label} ${file}`, 4 * MIB))
  }
  await run('mke2fs', ['-q', '-t', 'ext4', '-L', label.slice(0, 16), '-d', tree, image, `${sizeMib}M`])
  await rm(tree, { recursive: true })
}

/** What a guest does in a day: writes a new file, and removes an old one. Returns how many bytes it wrote. */
export async function changeGuestDisk(control: LabControl, disk: LabDiskRef, image: string): Promise<number> {
  const before = `${image}.before`
  const added = `${image}.added`
  await copyFile(image, before)
  await writeFile(added, fileContent('a day later', 24 * MIB))
  const commands = `write ${added} today.bin\nwrite ${added} again.bin\n`
  await writeFile(`${image}.commands`, commands)
  await run('debugfs', ['-w', '-f', `${image}.commands`, image])
  const written = await sendDifference(control, disk, before, image)
  for (const file of [before, added, `${image}.commands`]) await rm(file)
  return written
}

/** Lets the guest of the lab write what differs between two images. */
async function sendDifference(
  control: LabControl,
  disk: LabDiskRef,
  before: string,
  after: string,
): Promise<number> {
  await using old = await open(before)
  await using changed = await open(after)
  const { size } = await changed.stat()
  const [one, other] = [Buffer.alloc(MIB), Buffer.alloc(MIB)]
  let writtenBytes = 0
  for (let offset = 0; offset < size; offset += MIB) {
    await old.read(one, 0, MIB, offset)
    const { bytesRead } = await changed.read(other, 0, MIB, offset)
    for (let start = 0; start < bytesRead; start += PIECE_BYTES) {
      const piece = other.subarray(start, Math.min(start + PIECE_BYTES, bytesRead))
      if (piece.equals(one.subarray(start, start + piece.length))) continue
      await control.write(disk, offset + start, Uint8Array.from(piece))
      writtenBytes += piece.length
    }
  }
  return writtenBytes
}

/** The same at each run: half of it does not compress, half of it does. */
function fileContent(seed: string, length: number): Buffer {
  const key = createHash('sha256').update(seed).digest()
  const noise = createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length / 2))
  return Buffer.concat([
    noise,
    Buffer.alloc(length - noise.length, `${seed}: the same line again and again.\n`),
  ])
}
