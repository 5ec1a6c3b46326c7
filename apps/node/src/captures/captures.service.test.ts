import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CaptureOrder, JobId } from '@sendense/contracts'
import { AppError, newId } from '@sendense/platform'
import { memoryLog } from '@sendense/platform/testing'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Ledger } from '../ledger/ledger.ts'
import type { CaptureOutcome } from '../ledger/ledger-entry.ts'
import { FakeHubCalls } from '../testing/fake-hub-calls.ts'
import { InstantClock } from '../testing/instant-clock.ts'
import { anOrder } from '../testing/makers.ts'
import type { Capture } from './capture.ts'
import { CapturesService } from './captures.service.ts'
import { OutcomeDelivery } from './outcome-delivery.ts'

const SUCCEEDED: CaptureOutcome = { state: 'succeeded', failure: null, leftovers: [] }

let folder: string
let ledger: Ledger
let hub: FakeHubCalls
let nudges: number
/** The captures that were made, each with a handle to end it. */
let made: { order: CaptureOrder; end: (outcome?: CaptureOutcome) => void; reasons: string[] }[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-captures-'))
  ledger = await Ledger.open(join(folder, 'ledger.jsonl'))
  hub = new FakeHubCalls()
  made = []
  nudges = 0
})
afterEach(async () => {
  await ledger[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

function aService(own = ledger): CapturesService {
  const log = memoryLog()
  return new CapturesService({
    makeCapture: order => {
      const ended = Promise.withResolvers<CaptureOutcome>()
      const reasons: string[] = []
      let outcome: CaptureOutcome | undefined
      const end = (how = SUCCEEDED) => {
        outcome = how
        ended.resolve(how)
      }
      made.push({ order, end, reasons })
      return {
        order,
        get state() {
          const { jobId } = order
          return {
            jobId,
            state: outcome?.state ?? 'running',
            step: 'read',
            failure: outcome?.failure ?? null,
          }
        },
        run: () => ended.promise,
        cancel: (reason: AppError) => {
          reasons.push(reason.code)
          const failure = reason.code === 'job-cancelled' ? null : reason.toFailure()
          end({ ...SUCCEEDED, state: failure ? 'failed' : 'cancelled', failure })
        },
      } as unknown as Capture
    },
    ledger: own,
    farewellMs: 50,
    sweeper: { nudge: () => void nudges++ },
    delivery: new OutcomeDelivery({ hub, clock: new InstantClock(), log }),
    log,
  })
}

const refuse = () => {
  throw new AppError('internal')
}
const orderOfAnotherVm = () => anOrder({ vm: { instanceUuid: newId(), moRef: 'vm-2', name: 'other' } })

test('the same job twice is one capture, while it runs and after it has ended', async () => {
  const service = aService()
  const order = anOrder()
  await Promise.all([service.start(order), service.start(order)])
  await service.start(order)
  made[0]?.end()
  await vi.waitFor(() => expect(hub.finished).toHaveLength(1))
  await service.start(order)
  expect(made).toHaveLength(1)
})

test('a second capture of the same VM is refused while the first runs; another VM is not', async () => {
  const service = aService()
  await service.start(anOrder())
  await expect(service.start(anOrder())).rejects.toMatchObject({ code: 'job-already-running' })
  await service.start(orderOfAnotherVm())
  made[0]?.end()
  await vi.waitFor(() => expect(hub.finished).toHaveLength(1))
  await service.start(anOrder())
  expect(made).toHaveLength(3)
})

test('the last word reaches the Hub once it listens, and stands in the ledger until then', async () => {
  const service = aService()
  const order = anOrder()
  await service.start(order)
  const away = new AppError('internal')
  hub.failNext('finishCapture', away, away, away)
  made[0]?.end()
  await vi.waitFor(() => expect(hub.finished).toEqual([{ jobId: order.jobId, ...SUCCEEDED }]))
  await vi.waitFor(() => expect(ledger.entries()).toEqual([]))
})

test('a Hub that knows nothing of the capture is not asked for ever', async () => {
  const service = aService()
  await service.start(anOrder())
  hub.failNext('finishCapture', new AppError('capture-unknown'))
  made[0]?.end()
  await vi.waitFor(() => expect(ledger.entries()).toEqual([]))
  expect(hub.finished).toEqual([])
})

test('hello names captures that run and those whose end is not told, and no others', async () => {
  const service = aService()
  const [untold, told, running] = [anOrder(), orderOfAnotherVm(), orderOfAnotherVm()]
  for (const order of [untold, told, running]) await service.start(order)
  made[1]?.end()
  await vi.waitFor(() => expect(hub.finished).toHaveLength(1))
  hub.onCallOf.set('finishCapture', refuse)
  made[0]?.end()
  await vi.waitFor(() => expect(service.state(untold.jobId).state).toBe('succeeded'))
  expect(service.openStates().map(({ jobId, state }) => [jobId, state])).toEqual([
    [running.jobId, 'running'],
    [untold.jobId, 'succeeded'],
  ])
  expect(service.state(told.jobId).state).toBe('succeeded')
  expect(service.state(newId() as JobId).state).toBe('unknown')
  await service.stop()
})

test('a capture that a crash has interrupted is reported after the restart, with what is left of it', async () => {
  const order = anOrder()
  await aService().start(order)
  const { jobId, vcenter, vm } = order
  const snapshotName = `sendense-${jobId}`
  await ledger.record({
    ...{ kind: 'snapshot', jobId, vcenter, vm, snapshotName, isAnswered: true, absentAt: null },
  })

  await using later = await Ledger.open(join(folder, 'ledger.jsonl'))
  const service = aService(later)
  const swept = Promise.withResolvers<void>()
  service.takeUpEarlier(swept.promise)
  expect(service.openStates()).toMatchObject([
    { jobId, state: 'failed', failure: { code: 'job-interrupted' } },
  ])
  expect(hub.finished).toEqual([])
  swept.resolve()
  await vi.waitFor(() => expect(hub.finished).toHaveLength(1))
  expect(hub.finished[0]).toMatchObject({
    ...{ jobId, state: 'failed', failure: { code: 'job-interrupted' } },
    leftovers: [expect.stringContaining(snapshotName)],
  })
  await service.stop()
})

test('an outcome that was not told before a restart is told as it was', async () => {
  const service = aService()
  const order = anOrder()
  await service.start(order)
  hub.onCallOf.set('finishCapture', refuse)
  made[0]?.end()
  await vi.waitFor(() => expect(ledger.entries()).toMatchObject([{ outcome: SUCCEEDED }]))
  await service.stop()

  hub = new FakeHubCalls()
  await using later = await Ledger.open(join(folder, 'ledger.jsonl'))
  aService(later).takeUpEarlier(Promise.resolve())
  await vi.waitFor(() => expect(hub.finished).toEqual([{ jobId: order.jobId, ...SUCCEEDED }]))
})

test('a cancel reaches the capture; one of an unknown job is nothing', async () => {
  const service = aService()
  const order = anOrder()
  await service.start(order)
  service.cancel(newId() as JobId)
  service.cancel(order.jobId)
  expect(made[0]?.reasons).toEqual(['job-cancelled'])
})

test('a stop ends all captures in order, tells the Hub, and takes no new ones', async () => {
  const service = aService()
  await service.start(anOrder())
  await service.start(orderOfAnotherVm())
  await service.stop()
  expect(made.flatMap(one => one.reasons)).toEqual(['job-interrupted', 'job-interrupted'])
  expect(hub.finished).toHaveLength(2)
  await expect(service.start(anOrder())).rejects.toMatchObject({ code: 'node-unreachable' })
})

test('the sweeper looks after each capture', async () => {
  const service = aService()
  await service.start(anOrder())
  made[0]?.end()
  await vi.waitFor(() => expect(nudges).toBe(1))
})

test('a ledger that cannot be written takes no order', async () => {
  const service = aService()
  await ledger[Symbol.asyncDispose]()
  const order = anOrder()
  await expect(service.start(order)).rejects.toThrow()
  expect(service.state(order.jobId).state).toBe('unknown')
  ledger = await Ledger.open(join(folder, 'ledger.jsonl'))
})
