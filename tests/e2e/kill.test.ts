import { readdir, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Backup, JobId, Progress, StartedJob, Vm } from '@sendense/contracts'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { waitFor } from '../support/child.ts'
import { leftovers, untilNothingLeft } from '../support/leftovers.ts'
import { noise } from '../support/noise.ts'
import { processesNaming } from '../support/our-processes.ts'
import { restic } from '../support/restic.ts'
import { restoredHash } from '../support/restored-disks.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { type Stage, startStage } from '../support/stage.ts'

const MIB = 1024 * 1024
const CHUNK_BYTES = 524_288
const KEY = 2000
const VICTIMS = ['node', 'nbdkit', 'hub'] as const
const KILLS_PER_VICTIM = 17
const SOAP_IDLE_MS = 8000

type Victim = (typeof VICTIMS)[number]
/**
 * How much new data a capture has, how long each read takes, and when in it the victim dies. The Hub keeps packs of
 * 16 MiB in its memory until they are full, so it needs more data before there is anything to lose.
 */
const PLAN: Record<Victim, { newBytes: number; readUs: number; windowMs: number }> = {
  node: { newBytes: 12 * MIB, readUs: 450_000, windowMs: 1500 },
  hub: { newBytes: 44 * MIB, readUs: 150_000, windowMs: 1700 },
  nbdkit: { newBytes: 12 * MIB, readUs: 450_000, windowMs: 800 },
}

/** What is known of one kill. */
interface Kill {
  readonly victim: Victim
  readonly momentMs: number
  readonly recoveryMs: number
  /** How the killed backup ended. */
  readonly end: string
  /** What the killed run had stored, and what the retry had to store. */
  readonly keptBytes: number
  readonly retriedBytes: number
}

let stage: Stage
let vm: Vm
const kills: Kill[] = []
/** Restore points that are listed, and what their disk must be. */
const promised = new Map<Backup['id'], { backup: Backup; hash: string }>()

beforeAll(async () => {
  const vms = [{ name: 'victim', disks: [{ sizeBytes: 48 * MIB }], changeTracking: true }]
  stage = await startStage({ lab: { vms, sessionTimeoutMs: SOAP_IDLE_MS }, chunkBytes: CHUNK_BYTES })
  vm = await stage.addVm('victim')
  await keepPromise(await stage.backUpWell(vm))
})
afterAll(() => stage?.[Symbol.asyncDispose]())

test('kill -9 of Node, nbdkit and Hub in turn, at any moment of a capture', async () => {
  const random = new SeededRandom(20_260_301)
  const left = Object.fromEntries(VICTIMS.map(victim => [victim, KILLS_PER_VICTIM])) as Record<Victim, number>
  // In turn, so that each meets the others fresh from a restart: a Node takes its time with a Hub that it lost often.
  for (let attempt = 0; VICTIMS.some(victim => left[victim] > 0); attempt += 1) {
    expect(attempt, 'most captures had not ended before the kill').toBeLessThan(2 * 3 * KILLS_PER_VICTIM)
    const victim = VICTIMS[attempt % VICTIMS.length] ?? 'node'
    if (left[victim] > 0 && (await oneKill(victim, random, `${victim} ${attempt}`))) left[victim] -= 1
  }
}, 600_000)

test('afterwards every restore point that is listed can be read, and nothing is left', async () => {
  expect(kills).toHaveLength(3 * KILLS_PER_VICTIM)
  expect(promised.size).toBeGreaterThan(3 * KILLS_PER_VICTIM)
  await restartHub()
  expect(await listedRestorePoints()).toEqual(restorePointsOf([...promised.values()].map(one => one.backup)))
  for (const { backup, hash } of promised.values()) {
    expect(await restoredHash(stage, backup, KEY), `backup ${backup.id}`).toBe(hash)
  }
  expect(await restic(stage, 'check', '--read-data')).toContain('no errors were found')
  expect(await leftovers(stage)).toEqual([])
  // Nobody can log out of the session of a process that was killed: vSphere ends it when it is idle.
  await waitFor(
    'the vSphere sessions to end',
    async () => (await stage.lab.control.state()).soapSessions === 0 || undefined,
    2 * SOAP_IDLE_MS,
  )
  process.stderr.write(`${summary()}\n`)
})

test('kill -9 of the Hub in a restore: the job says so, and half a disk is not left', async () => {
  const { backup, hash } = [...promised.values()].at(-1) ?? expect.fail('there is no backup')
  await limitReads(2 * MIB)
  const { jobId } = await stage.admin.backups.restoreDisk({
    params: { backupId: backup.id },
    body: { diskKey: KEY, path: 'killed/disk.raw' },
  })
  await waitFor('the restore to write', async () => (await restoredFiles()).length > 0 || undefined)
  expect(await restoredFiles()).toEqual([expect.stringMatching(/^disk\.raw\.partial-[0-9a-f]{16}$/)])
  await stage.hub.program.kill()
  await restartHub()
  expect(await untilEnded(jobId)).toMatchObject({ state: 'failed', failure: { code: 'job-interrupted' } })
  expect(await restoredFiles()).toEqual([])
  await limitReads(null)
  expect(await restoredHash(stage, backup, KEY)).toBe(hash)
})

async function limitReads(readBytesPerSecondMax: number | null): Promise<void> {
  const params = { repositoryId: stage.repository.id }
  await stage.admin.repositories.updateRepository({ params, body: { limits: { readBytesPerSecondMax } } })
}

function restoredFiles(): Promise<string[]> {
  return readdir(join(stage.hub.restoreDir, 'killed'))
}

/** One capture with new data, killed in its course, and its retry. False if it had ended before the kill. */
async function oneKill(victim: Victim, random: SeededRandom, seed: string): Promise<boolean> {
  const { newBytes, readUs, windowMs } = PLAN[victim]
  const { control } = stage.lab
  await control.write({ vm: vm.moRef, key: KEY }, 0, noise(newBytes, seed))
  const hash = await control.hashDisk({ vm: vm.moRef, key: KEY })
  const chunksBefore = await chunkCount()
  await control.vddkLatency(readUs)
  const started = await startBackup()
  const momentMs = random.between(0, windowMs)
  const killedAt = await kill(victim, started, momentMs)
  await control.vddkLatency(0)
  const job = await untilEnded(started.jobId)
  await untilNothingLeft(stage)
  const recoveryMs = performance.now() - (killedAt ?? 0)

  const where = `${seed}, killed after ${momentMs} ms`
  const killed = await stage.admin.backups.getBackup({ params: { backupId: started.backupId } })
  await expectTruth(job, killed, where)
  if (killed.status === 'succeeded') promised.set(killed.id, { backup: killed, hash })
  const keptBytes = ((await chunkCount()) - chunksBefore) * CHUNK_BYTES

  const retry = await stage.backUpWell(vm)
  promised.set(retry.id, { backup: retry, hash })
  expect(await restoredHash(stage, retry, KEY), where).toBe(hash)
  expectNothingTwice({ keptBytes, newBytes, retriedBytes: retry.bytes.newBytes }, where)
  await untilNothingLeft(stage)
  if (killedAt !== undefined) {
    const end = killed.failure?.code ?? killed.status
    kills.push({ victim, momentMs, recoveryMs, end, keptBytes, retriedBytes: retry.bytes.newBytes })
  }
  return killedAt !== undefined
}

/**
 * Kills the victim that long after the start (the reader: after it has appeared), and starts it again. Says when it
 * died, or nothing if the capture had ended before.
 */
async function kill(victim: Victim, { jobId }: StartedJob, momentMs: number): Promise<number | undefined> {
  if (victim === 'nbdkit') return killReader(jobId, momentMs)
  await sleep(momentMs)
  const isRunning = (await stateOf(jobId)) === 'running'
  const diedAt = performance.now()
  if (victim === 'hub') {
    await stage.hub.program.kill()
    await restartHub()
  } else await stage.node.killAndRestart()
  return isRunning ? diedAt : undefined
}

async function killReader(jobId: JobId, momentMs: number): Promise<number | undefined> {
  const find = async () => (await processesNaming(`--unix=${stage.node.dir.path}`))[0]
  await waitFor('the reader to appear', find)
  await sleep(momentMs)
  const reader = await find()
  if (!reader || (await stateOf(jobId)) !== 'running') return undefined
  try {
    process.kill(reader.pid, 'SIGKILL')
    return performance.now()
  } catch {
    // It ended by itself in between.
    return undefined
  }
}

/** Temporary files may belong to a writer that lives if they are younger than a minute; here they do not. */
async function restartHub(): Promise<void> {
  if (!stage.hub.program.hasEnded) await stage.hub.program.stop()
  const old = new Date(Date.now() - 120_000)
  for (const name of await readdir(stage.repository.path, { recursive: true })) {
    if (name.includes('.sendense-tmp-')) await utimes(join(stage.repository.path, name), old, old)
  }
  await stage.hub.restart()
}

function startBackup(): Promise<StartedJob> {
  return stage.admin.backups.startBackup({ body: { vmId: vm.id, repositoryId: stage.repository.id } })
}

async function stateOf(jobId: JobId): Promise<Progress['state']> {
  return (await stage.admin.jobs.getProgress({ params: { jobId } })).state
}

async function untilEnded(jobId: JobId): Promise<Progress> {
  const ask = async () => {
    const job = await stage.admin.jobs.getProgress({ params: { jobId } })
    return job.finishedAt === null ? undefined : job
  }
  const job = await waitFor('the killed job to end', ask, 60_000)
  await stage.node.waitUntilConnected(stage.admin)
  return job
}

/** The job, the backup and the repository tell the same: there is a restore point, or there is none. */
async function expectTruth(job: Progress, backup: Backup, where: string): Promise<void> {
  const isMade = backup.status === 'succeeded'
  expect({ job: job.state, backup: backup.status }, where).toEqual(
    isMade ? { job: 'succeeded', backup: 'succeeded' } : { job: 'failed', backup: 'failed' },
  )
  expect(backup.restorePointId === null, where).toBe(!isMade)
  expect(backup.failure === null, where).toBe(isMade)
  const known = [...promised.values()].map(one => one.backup)
  expect(await listedRestorePoints(), where).toEqual(restorePointsOf(isMade ? [...known, backup] : known))
}

/** What the killed run has stored is not stored again by the retry. Lists and manifests count as chunks too. */
function expectNothingTwice(
  { keptBytes, newBytes, retriedBytes }: { keptBytes: number; newBytes: number; retriedBytes: number },
  where: string,
): void {
  const slackBytes = 4 * MIB
  expect(retriedBytes, where).toBeLessThanOrEqual(newBytes)
  expect(Math.abs(keptBytes + retriedBytes - newBytes), where).toBeLessThanOrEqual(slackBytes)
  if (keptBytes > slackBytes) expect(retriedBytes, where).toBeLessThan(newBytes)
}

/** Restore points as the repository has them: their files, not what the Hub believes. */
async function listedRestorePoints(): Promise<string[]> {
  return (await readdir(join(stage.repository.path, 'snapshots'))).toSorted()
}

function restorePointsOf(backups: readonly Backup[]): string[] {
  return backups.map(backup => backup.restorePointId ?? '').toSorted()
}

async function keepPromise(backup: Backup): Promise<void> {
  const hash = await stage.lab.control.hashDisk({ vm: vm.moRef, key: KEY })
  promised.set(backup.id, { backup, hash })
}

async function chunkCount(): Promise<number> {
  const params = { repositoryId: stage.repository.id }
  return (await stage.admin.repositories.getRepositoryStorage({ params })).chunkCount
}

function summary(): string {
  const lines = VICTIMS.map(victim => {
    const own = kills.filter(kill => kill.victim === victim)
    const moments = own.map(kill => kill.momentMs)
    const ends = Object.entries(Object.groupBy(own, kill => kill.end)).map(
      ([end, all]) => `${end} ${all?.length}`,
    )
    const kept = own.filter(kill => kill.keptBytes > 4 * MIB).length
    return (
      `${victim}: ${own.length} kills ${Math.min(...moments)}-${Math.max(...moments)} ms after the start, ` +
      `${ends.join(', ')}; ${kept} had stored something that was not sent again; ` +
      `slowest recovery ${Math.round(Math.max(...own.map(kill => kill.recoveryMs)))} ms`
    )
  })
  return `kill -9: ${kills.length} kills, ${promised.size} restore points readable. ${lines.join('. ')}`
}
