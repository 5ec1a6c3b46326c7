import { existsSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { setImmediate as turn } from 'node:timers/promises'
import type { Client } from '@sendense/client'
import type { Repository } from '@sendense/contracts'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { waitFor } from '../support/child.ts'
import { HubProcess } from '../support/hub-process.ts'
import { makePrivateDir, type PrivateDir } from '../support/private-dir.ts'

const ATTEMPTS_MAX = 20
const FOUND = 'A repository whose making was interrupted is there'
const NOT_FOUND = 'A repository that was begun was not found'

let dir: PrivateDir
let hub: HubProcess

beforeAll(async () => {
  dir = await makePrivateDir()
  hub = await HubProcess.start(dir)
})
afterAll(async () => {
  await hub?.[Symbol.asyncDispose]()
  await dir?.[Symbol.asyncDispose]()
})

test('kill -9 of the Hub between making a repository and its record: the next start finds it and opens it', async () => {
  let attempt = 0
  let isFound = false
  while (!isFound) {
    attempt += 1
    expect(attempt, 'most kills come before the record').toBeLessThanOrEqual(ATTEMPTS_MAX)
    const name = `killed-${attempt}`
    await killOnceMade(name)
    await hub.restart()
    const admin = await hub.administrator()
    // Whether or not the record was there already.
    const { id: repositoryId } = await waitFor('the repository to be in the list', () => find(admin, name))
    const { repositories } = admin
    expect(await repositories.getRepositoryStatistics({ params: { repositoryId } })).toMatchObject({
      packCount: 0,
    })
    isFound = hub.program.log().includes(FOUND)
  }
})

test('a place where such a Hub has left nothing but a key takes the repository that is added there again', async () => {
  let attempt = 0
  let name: string
  let isBegun: boolean
  do {
    attempt += 1
    expect(attempt, 'most kills come before the record').toBeLessThanOrEqual(ATTEMPTS_MAX)
    name = `only-a-key-${attempt}`
    await killOnceMade(name)
    // The config is written last: one that is not there is what a Hub leaves that was killed a moment before.
    await rm(dir.join(name, 'config'))
    await hub.restart()
    isBegun = await waitFor('the Hub to look for it', () => toldOf(name))
  } while (!isBegun)
  const { repositories } = await hub.administrator()
  const body = { name, place: { type: 'local', path: dir.join(name) } } as const
  const { repository } = await repositories.createRepository({ body })
  const { keys } = await repositories.listRepositoryKeys({ params: { repositoryId: repository.id } })
  expect(keys).toMatchObject([{ isCurrent: true }])
  expect(await readdir(dir.join(name, 'keys'))).toHaveLength(1)
})

/** Whether the Hub has said of it that it was begun, or that it is one like all others that cannot be opened. */
function toldOf(name: string): boolean | undefined {
  const lines = hub.program.log().split('\n')
  const isOf = (line: string) => line.includes(`"${name}"`)
  if (lines.some(line => isOf(line) && line.includes(NOT_FOUND))) return true
  return lines.some(line => isOf(line) && line.includes('cannot be opened')) ? false : undefined
}

async function find({ repositories }: Client, wanted: string): Promise<Repository | undefined> {
  const { items } = await repositories.listRepositories({ query: { limit: 200 } })
  return items.find(({ name }) => name === wanted)
}

/** Kills the Hub as soon as there is a repository on the storage. */
async function killOnceMade(name: string): Promise<void> {
  const { repositories } = await hub.administrator()
  const path = dir.join(name)
  const body = { name, place: { type: 'local', path } } as const
  let isAnswered = false
  const answer = repositories.createRepository({ body })
  const end = answer
    .catch(() => undefined)
    .finally(() => {
      isAnswered = true
    })
  while (!isAnswered && !existsSync(dir.join(name, 'config'))) await turn()
  await hub.program.kill()
  await end
  expect(existsSync(dir.join(name, 'config'))).toBe(true)
}
