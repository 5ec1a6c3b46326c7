import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import type { Db } from '../platform/database/db.ts'
import { openDatabase } from '../platform/database/open-database.ts'
import { SCHEMA } from '../schema.ts'

/** Databases of a test file: a new empty one at each call, gone after each test. */
export function testDatabases(): { open(): Promise<Db> } {
  const cleanUps: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0)) await cleanUp()
  })
  return {
    async open() {
      const folder = await mkdtemp(join(tmpdir(), 'sendense-db-'))
      const { db } = await openDatabase(`sqlite:${join(folder, 'hub.db')}`, SCHEMA)
      cleanUps.push(async () => {
        await db.close()
        await rm(folder, { recursive: true })
      })
      return db
    },
  }
}
