import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JobId } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Ledger } from './ledger.ts'
import type { DiskReaderEntry } from './ledger-entry.ts'

let folder: string
let path: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-ledger-'))
  path = join(folder, 'ledger.jsonl')
})
afterEach(() => rm(folder, { recursive: true }))

function anEntry(directory = '/run/a'): DiskReaderEntry {
  return { kind: 'disk-reader', jobId: newId() as JobId, directory, process: null }
}

async function reopened(): Promise<string[]> {
  await using ledger = await Ledger.open(path)
  return ledger.abandoned('disk-reader').map(({ entry }) => entry.directory)
}

test('an entry is on the disk when it is recorded, without a farewell', async () => {
  await using ledger = await Ledger.open(path)
  await ledger.record(anEntry('/run/a'))
  expect(await reopened()).toEqual(['/run/a'])
})

test('a closed entry does not come back', async () => {
  await using ledger = await Ledger.open(path)
  const first = await ledger.record(anEntry('/run/a'))
  await ledger.record(anEntry('/run/b'))
  await first.close()
  await first.close()
  expect(await reopened()).toEqual(['/run/b'])
})

test('the last update of an entry counts', async () => {
  await using ledger = await Ledger.open(path)
  const record = await ledger.record(anEntry('/run/a'))
  await record.update({ ...record.entry, process: { pid: 7, startTicks: '99' } })
  await using later = await Ledger.open(path)
  expect(later.abandoned('disk-reader')[0]?.entry.process).toEqual({ pid: 7, startTicks: '99' })
})

test('entries of this process are nobody else’s until they are abandoned', async () => {
  await using ledger = await Ledger.open(path)
  const record = await ledger.record(anEntry())
  expect(ledger.abandoned('disk-reader')).toEqual([])
  record.abandon()
  expect(ledger.abandoned('disk-reader')).toHaveLength(1)
})

test('a crash at any byte of the last line loses that line and nothing else', async () => {
  {
    await using ledger = await Ledger.open(path)
    await ledger.record(anEntry('/run/first'))
    await ledger.record(anEntry('/run/last'))
  }
  const whole = await readFile(path)
  const lastLineAt = whole.lastIndexOf('\n', whole.length - 2) + 1
  for (let length = lastLineAt; length < whole.length; length++) {
    await writeFile(path, whole.subarray(0, length))
    await using ledger = await Ledger.open(path)
    expect(ledger.damage).toEqual({ tornBytes: length - lastLineAt, unreadableLines: 0, copy: null })
    await ledger.record(anEntry('/run/after'))
    expect(await reopened()).toEqual(['/run/first', '/run/after'])
  }
})

test('zeros at the end, as a power failure leaves them, are cut off', async () => {
  await Ledger.open(path).then(async ledger => {
    await ledger.record(anEntry('/run/a'))
    await ledger[Symbol.asyncDispose]()
  })
  await appendFile(path, Buffer.alloc(4096))
  expect(await reopened()).toEqual(['/run/a'])
})

test('a damaged line in the middle costs that line, and the file is kept for people', async () => {
  {
    await using ledger = await Ledger.open(path)
    await ledger.record(anEntry('/run/a'))
    await ledger.record(anEntry('/run/b'))
  }
  const text = await readFile(path, 'utf8')
  await writeFile(path, text.replace('{"op":"set"', '{"op":"sat"'))
  await using ledger = await Ledger.open(path)
  expect(ledger.damage).toEqual({ tornBytes: 0, unreadableLines: 1, copy: `${path}.damaged` })
  expect(await readFile(`${path}.damaged`, 'utf8')).toContain('"sat"')
  expect(ledger.abandoned('disk-reader').map(({ entry }) => entry.directory)).toEqual(['/run/b'])
})

test('the file stays short however many entries come and go', async () => {
  await using ledger = await Ledger.open(path)
  const kept = await ledger.record(anEntry('/run/kept'))
  for (let round = 0; round < 400; round++) await (await ledger.record(anEntry())).close()
  expect((await readFile(path, 'utf8')).split('\n').length).toBeLessThan(300)
  expect(await reopened()).toEqual(['/run/kept'])
  await kept.close()
  expect(await reopened()).toEqual([])
})

test('many writers at once do not tear each other’s lines', async () => {
  await using ledger = await Ledger.open(path)
  const records = await Promise.all(Array.from({ length: 50 }, (_, i) => ledger.record(anEntry(`/run/${i}`))))
  await Promise.all(records.filter((_, i) => i % 2 === 0).map(record => record.close()))
  expect(await reopened()).toEqual(
    Array.from({ length: 50 }, (_, i) => `/run/${i}`).filter((_, i) => i % 2 === 1),
  )
})

test('a line that cannot be written is not recorded, and the next one is whole', async () => {
  const ledger = await Ledger.open(path)
  await ledger.record(anEntry('/run/a'))
  await ledger[Symbol.asyncDispose]()
  await expect(ledger.record(anEntry('/run/b'))).rejects.toThrow()
  expect(ledger.abandoned('disk-reader')).toEqual([])
  expect(await reopened()).toEqual(['/run/a'])
})
