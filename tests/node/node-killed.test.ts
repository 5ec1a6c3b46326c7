import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { waitFor } from '../support/child.ts'
import type { ReceivedCapture } from './engine-hub.ts'
import { NodeStage } from './node-stage.ts'

const MIB = 1024 * 1024

let stage: NodeStage
let vm: Awaited<ReturnType<NodeStage['vm']>>

beforeAll(async () => {
  stage = await NodeStage.start({})
  await stage.lab.control.createVms([
    { name: 'vm', changeTracking: true, disks: [{ sizeBytes: 32 * MIB }, { sizeBytes: 8 * MIB }] },
  ])
  vm = await stage.vm('vm')
  for (const { key } of vm.disks) {
    await stage.lab.control.write({ vm: vm.ref, key }, MIB, new Uint8Array(randomBytes(6 * MIB)))
  }
  await stage.lab.control.userSnapshot(vm.ref, 'not ours')
  await stage.lab.control.taskDelay('CreateSnapshot_Task', 400)
  await stage.lab.control.vddkOpenDelay(200)
  await stage.lab.control.vddkLatency(20_000)
})
afterAll(() => stage[Symbol.asyncDispose]())

/** Kills the Node, starts it again, and checks that nothing of the capture is anywhere but in its last word. */
async function expectSweptAfterKill(capture: ReceivedCapture): Promise<void> {
  await stage.kill()
  await stage.restart()
  const hello = stage.hub.hub.hellos.at(-1)
  const { finish } = await stage.hub.ended(capture)
  // A capture that had told its end already is not named again.
  const named = hello?.captures.find(one => one.jobId === capture.order.jobId)
  if (named) expect(named).toMatchObject({ state: finish.state })
  if (finish.state === 'failed') expect(finish.failure?.code).toBe('job-interrupted')
  await waitFor('the sweeper', async () => {
    const { snapshots } = await stage.lab.control.vm(vm.ref)
    return snapshots.length === 1 || undefined
  })
  await stage.expectNothingLeft(['not ours'])
}

test.for(['prepare', 'snapshot', 'read', 'commit', 'clean-up'])(
  'killed in the step %s, the Node cleans up at its next start and says how it ended',
  async step => {
    const capture = await stage.hub.order(stage.lab, vm)
    await waitFor(`the step ${step}`, () => capture.steps.includes(`${step} running`) || undefined)
    await expectSweptAfterKill(capture)
  },
)

test('killed at any moment, nothing is left, and a capture afterwards succeeds', async () => {
  for (let round = 0; round < 12; round++) {
    const capture = await stage.hub.order(stage.lab, vm)
    // Spread over a capture's length, which is about two seconds here.
    await sleep(round * 180)
    await expectSweptAfterKill(capture)
  }
  const whole = await stage.hub.capture(stage.lab, vm)
  expect(whole.finish).toMatchObject({ state: 'succeeded', leftovers: [] })
}, 180_000)

test('a vCenter that is away at the restart is waited for, and the leftover is named until then', async () => {
  const capture = await stage.hub.order(stage.lab, vm)
  await waitFor('the reading', () => capture.steps.includes('read running') || undefined)
  await stage.kill()
  // Two: a last request of the killed Node may still be on its way, and would use a single fault up.
  await stage.lab.control.httpFault({ count: 2 })
  await stage.restart()
  const { finish } = await stage.hub.ended(capture)
  expect(finish.leftovers).toEqual([expect.stringContaining(`sendense-${capture.order.jobId}`)])
  await waitFor(
    'the sweeper',
    async () => {
      const { snapshots } = await stage.lab.control.vm(vm.ref)
      return snapshots.length === 1 || undefined
    },
    40_000,
  )
  await stage.expectNothingLeft(['not ours'])
}, 90_000)

test('a stop cleans up before the process ends', async () => {
  const capture = await stage.hub.order(stage.lab, vm)
  await waitFor('the reading', () => capture.steps.includes('read running') || undefined)
  expect(await stage.node.stop()).toEqual({ code: 0, signal: null })
  expect(capture.finish).toMatchObject({
    state: 'failed',
    failure: { code: 'job-interrupted' },
    leftovers: [],
  })
  await stage.expectNothingLeft(['not ours'])
  await stage.restart()
})
