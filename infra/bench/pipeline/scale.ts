/**
 * Shows what a backup's time and memory depend on: disks of 1, 4 and 16 times a size hold the same data and get
 * the same changes. Prints one line a disk and kind. `node scale.ts [base GiB]`.
 */
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const MIB = 1024 * 1024
const DATA_MIB = 512
const CHANGED_MIB = 40
const MAIN = fileURLToPath(new URL('main.ts', import.meta.url))
const baseGib = Number(process.argv[2] ?? 1)

const folder = await mkdtemp(join(tmpdir(), 'sendense-scale-'))
try {
  print(['disk', 'kind', 'wall s', 'Node MiB', 'Hub MiB', 'new MiB', 'stored MiB'])
  for (const times of [1, 4, 16]) await measureDisk(baseGib * 1024 * times)
} finally {
  await rm(folder, { recursive: true })
}

async function measureDisk(sizeMib: number): Promise<void> {
  const image = join(folder, 'disk.raw')
  const repo = join(folder, 'repo')
  const env = { ...process.env, SENDENSE_BENCH_PASSWORD: 'benchmark-only', SIZE: String(sizeMib * MIB) }
  const data = spread(sizeMib, DATA_MIB)
  await writeDisk(image, sizeMib, data)
  execFileSync('node', [MAIN, 'init', repo, folder], { env })
  await measure('full', sizeMib, await extentsFile('full', data), env)
  const changed = data.filter((_, index) => index % Math.round(DATA_MIB / CHANGED_MIB) === 0)
  await overwrite(image, changed)
  await measure('incremental', sizeMib, await extentsFile('incremental', changed), env)
  await rm(repo, { recursive: true })
  await rm(image)
}

/** Offsets of `count` areas of 1 MiB, evenly over the disk. */
function spread(sizeMib: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => Math.floor((index * sizeMib) / count) * MIB)
}

async function writeDisk(path: string, sizeMib: number, offsets: readonly number[]): Promise<void> {
  await using file = await open(path, 'w')
  await file.truncate(sizeMib * MIB)
  for (const offset of offsets) await file.write(someData(), 0, MIB, offset)
}

async function overwrite(path: string, offsets: readonly number[]): Promise<void> {
  await using file = await open(path, 'r+')
  for (const offset of offsets) await file.write(someData(), 0, MIB, offset)
}

/** Half of it compresses, as data on disks does. */
function someData(): Buffer {
  return Buffer.concat([randomBytes(MIB / 2), Buffer.alloc(MIB / 2, 'The same words again and again. ')])
}

async function extentsFile(name: string, offsets: readonly number[]): Promise<string> {
  const path = join(folder, `${name}.extents`)
  await writeFile(path, offsets.map(offset => `${offset} ${MIB}\n`).join(''))
  return path
}

async function measure(
  kind: 'full' | 'incremental',
  sizeMib: number,
  extents: string,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  await mkdir(join(folder, 'run'), { recursive: true })
  const socket = join(folder, 'run', `${kind}.sock`)
  const server = spawn('nbdkit', [
    '--foreground',
    '--readonly',
    '--unix',
    socket,
    'file',
    join(folder, 'disk.raw'),
  ])
  try {
    while (!existsSync(socket)) await sleep(5)
    const args = [
      'backup',
      join(folder, 'repo'),
      folder,
      `nbd+unix:///?socket=${socket}`,
      'vm',
      kind,
      extents,
    ]
    const startedAt = performance.now()
    const output = execFileSync('node', [MAIN, ...args, ...(kind === 'incremental' ? ['full'] : [])], { env })
    const seconds = (performance.now() - startedAt) / 1000
    const report = Object.assign(
      {},
      ...output
        .toString()
        .trim()
        .split('\n')
        .map(line => JSON.parse(line)),
    )
    print([
      `${sizeMib / 1024} GiB`,
      kind,
      seconds.toFixed(2),
      ...['nodePeakBytes', 'hubPeakBytes', 'newBytes', 'storedBytes'].map(name =>
        (report[name] / MIB).toFixed(0),
      ),
    ])
  } finally {
    server.kill()
    await once(server, 'exit')
    await rm(socket, { force: true })
  }
}

function print(cells: readonly string[]): void {
  process.stdout.write(`${cells.map(cell => cell.padEnd(12)).join('')}\n`)
}
