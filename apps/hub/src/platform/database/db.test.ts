import { setTimeout } from 'node:timers/promises'
import { AppError } from '@sendense/platform'
import { expect, test } from 'vitest'
import { testDatabases } from '../../testing/test-database.ts'
import { fromDriver, isUniqueViolation } from './database-error.ts'
import { Db } from './db.ts'
import { Settings, SettingsEntity } from './settings.ts'

const databases = testDatabases()
const add = (db: Db, name: string, value = '') =>
  db.write(manager => manager.insert(SettingsEntity, { name, value }))
const count = (db: Db) => db.read(manager => manager.count(SettingsEntity))

test('transactions that overlap do not mix: half of them roll back, and only those', async () => {
  const db = await databases.open()
  let dirtyReads = 0
  const stop = new AbortController()
  const watcher = (async () => {
    while (!stop.signal.aborted) {
      dirtyReads += await db.read(manager => manager.countBy(SettingsEntity, { value: 'half' }))
      await setTimeout(1)
    }
  })()
  const results = await Promise.allSettled(
    Array.from({ length: 40 }, (_, i) =>
      db.write(async manager => {
        await manager.insert(SettingsEntity, { name: `row ${i}`, value: 'half' })
        await setTimeout(2)
        if (i % 2) throw new Error('roll back')
        await db.write(inner => inner.update(SettingsEntity, { name: `row ${i}` }, { value: 'whole' }))
      }),
    ),
  )
  stop.abort()
  await watcher
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(20)
  expect(await count(db)).toBe(20)
  expect(dirtyReads).toBe(0)
})

test('a nested write is a part of the outer one, and reads see what it wrote', async () => {
  const db = await databases.open()
  const outer = db.write(async () => {
    await add(db, 'inner')
    expect(await count(db)).toBe(1)
    throw new Error('roll back both')
  })
  await expect(outer).rejects.toThrow('roll back both')
  expect(await count(db)).toBe(0)
})

test('work that was started inside a transaction and outlives it does not use it', async () => {
  const db = await databases.open()
  let late: Promise<unknown> = Promise.resolve()
  await db.write(async () => {
    await add(db, 'inside')
    late = setTimeout(20).then(() => add(db, 'afterwards'))
  })
  await late
  expect(await count(db)).toBe(2)
})

test('a unique violation is told from other errors, and leaves the queue working', async () => {
  const db = await databases.open()
  await add(db, 'same')
  const error = await add(db, 'same').catch((caught: unknown) => caught)
  expect(isUniqueViolation(error)).toBe(true)
  expect(isUniqueViolation(new Error('same'))).toBe(false)
  await add(db, 'another')
  expect(await count(db)).toBe(2)
})

test('a setting is replaced', async () => {
  const settings = new Settings(await databases.open())
  expect(await settings.get('color')).toBeUndefined()
  await settings.set('color', 'red')
  await settings.set('color', 'blue')
  expect(await settings.get('color')).toBe('blue')
})

if (databases.kind === 'MariaDB') {
  test('connections that the server has closed are nobody’s trouble', async () => {
    const { db, source } = await databases.openSource()
    await Promise.all(Array.from({ length: 10 }, (_, i) => add(db, `before ${i}`)))
    const others: { id: string }[] = await source.query(
      'SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()',
    )
    expect(others.length).toBeGreaterThan(3)
    for (const { id } of others) await source.query(`KILL ${Number(id)}`).catch(() => undefined)
    const all = Array.from({ length: 10 }, async (_, i) => {
      await add(db, `after ${i}`)
      return count(db)
    })
    await Promise.all(all)
    expect(await count(db)).toBe(20)
  })
}

test('a database that cannot be used has a code of its own, and other errors are left as they are', () => {
  const refused = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })
  expect(fromDriver(refused)).toMatchObject({ code: 'database-unavailable' })
  const closed = Object.assign(new Error('closed state'), { driverError: { fatal: true } })
  expect(fromDriver(closed)).toMatchObject({ code: 'database-unavailable' })
  const full = Object.assign(new Error('full'), { code: 'SQLITE_FULL' })
  expect(fromDriver(full)).toMatchObject({ code: 'database-unavailable' })
  for (const other of [new Error('other'), new AppError('conflict'), 'text', undefined]) {
    expect(fromDriver(other)).toBe(other)
  }
})

test('a transaction is tried again on another connection until it has begun, and not afterwards', async () => {
  const lost = () => Object.assign(new Error('closed state'), { fatal: true })
  let [lostCount, begunCount] = [2, 0]
  const source = {
    options: { type: 'mariadb' },
    transaction: async (work: (manager: object) => Promise<unknown>) => {
      if (lostCount-- > 0) throw lost()
      return work({})
    },
  }
  const db = new Db(source as never)
  expect(await db.write(async () => ++begunCount)).toBe(1)
  const broken = db.write(async () => {
    begunCount++
    throw lost()
  })
  await expect(broken).rejects.toMatchObject({ code: 'database-unavailable' })
  expect(begunCount).toBe(2)
  lostCount = Number.POSITIVE_INFINITY
  await expect(db.write(async () => 1)).rejects.toMatchObject({ code: 'database-unavailable' })
})
