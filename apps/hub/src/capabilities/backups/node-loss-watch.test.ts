import { EventEmitter } from 'node:events'
import { JobId, NodeId, RepositoryId, VmId } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { FakeClock } from '@sendense/platform/testing'
import { beforeEach, expect, test } from 'vitest'
import { aBackup } from './backups.store.suite.ts'
import { type ActiveCapture, type CaptureOutcome, CaptureRegistry } from './capture-registry.ts'
import { NodeLossWatch } from './node-loss-watch.ts'

const nodeId = NodeId.parse(newId())
let clock: FakeClock
let tunnels: EventEmitter
let outcome: CaptureOutcome | undefined
beforeEach(() => {
  clock = new FakeClock()
  tunnels = new EventEmitter()
  outcome = undefined
  const captures = new CaptureRegistry()
  captures.add(aCapture())
  new NodeLossWatch({ captures, clock, graceMs: 60_000 }).listenTo(tunnels)
})

test('a Node that comes back in time keeps its captures', async () => {
  tunnels.emit('disconnected', nodeId, false)
  await clock.advance(59_000)
  tunnels.emit('connected', nodeId)
  await clock.advance(120_000)
  expect(outcome).toBeUndefined()
})

test('a Node that does not come back loses its captures', async () => {
  tunnels.emit('disconnected', nodeId, false)
  await clock.advance(60_000)
  await settled()
  expect(outcome).toMatchObject({ state: 'failed', failure: { code: 'node-lost' } })
})

test('the captures of a revoked Node end at once', async () => {
  tunnels.emit('disconnected', nodeId, true)
  await settled()
  expect(outcome).toMatchObject({ state: 'failed', failure: { code: 'node-revoked' } })
})

test('another Node that goes away is none of its business', async () => {
  tunnels.emit('disconnected', NodeId.parse(newId()), true)
  await settled()
  expect(outcome).toBeUndefined()
})

function aCapture(): ActiveCapture {
  const backup = aBackup({ vmId: VmId.parse(newId()), repositoryId: RepositoryId.parse(newId()), nodeId })
  const ending = Promise.withResolvers<CaptureOutcome>()
  ending.promise.then(
    value => {
      outcome = value
    },
    () => undefined,
  )
  // The watch looks at the Node and the outcome only.
  return { backup: { ...backup, jobId: JobId.parse(newId()) }, nodeId, outcome: ending } as ActiveCapture
}

const settled = () => new Promise(resolve => setImmediate(resolve))
