import type { Backup, Vm } from '@sendense/contracts'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { untilNothingLeft } from '../support/leftovers.ts'
import { ModelledVm } from '../support/modelled-vm.ts'
import { reasonCodes } from '../support/reason-codes.ts'
import { restic } from '../support/restic.ts'
import { type DiskHashes, guestHashes, restoredHash, restoredHashes } from '../support/restored-disks.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { type Stage, startStage } from '../support/stage.ts'

const MIB = 1024 * 1024
/** Each seed is a VM with a life of its own; together they are 208 rounds. */
const SEEDS = [1, 20_260_101, 77_777, 424_242]
const ROUNDS = 52
const COMPARE_EVERY = 8
/** Not whole chunks, so that the last one is short. */
const SIZES = new Map([
  [2000, 3 * MIB + 512],
  [2001, 2 * MIB - 1024],
])
const ALWAYS_THERE = 2000

let stage: Stage
beforeAll(async () => {
  const disks = [...SIZES.values()].map(sizeBytes => ({ sizeBytes }))
  const vms = SEEDS.map(seed => ({ name: `life ${seed}`, disks, changeTracking: true }))
  stage = await startStage({ lab: { vms, maxAreas: 5 }, chunkBytes: 524_288 })
})
afterAll(() => stage?.[Symbol.asyncDispose]())

test.for(SEEDS)('whatever happens to a VM, each backup holds what its disks held (seed %i)', async seed => {
  const vm = await stage.addVm(`life ${seed}`)
  const random = new SeededRandom(seed)
  const model = new ModelledVm(stage.lab.control, { vm: vm.moRef, random })
  for (const [key, sizeBytes] of SIZES) model.addFirstDisk(key, sizeBytes)
  const kept: { backup: Backup; hashes: DiskHashes }[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let left = random.between(1, 6); left > 0; left -= 1) await model.step()
    const where = `seed ${seed}, round ${round}: ${model.history.join(', ')}`
    kept.push(await backUp(vm, model, where))
    if (round % COMPARE_EVERY === COMPARE_EVERY - 1) await compareNewest(kept, where)
  }
  await compareAll(kept, seed)
})

test('the repository that all this was stored in is whole, and nothing was left behind', async () => {
  expect(await restic(stage, 'check', '--read-data')).toContain('no errors were found')
  await untilNothingLeft(stage)
})

/** One backup of the VM as it is now; it must tell the truth about how it was read. */
async function backUp(vm: Vm, model: ModelledVm, where: string) {
  const hashes = model.hashes()
  const expectedReasons = model.expectedReasons()
  expect(await guestHashes(stage, vm, model.keys), `the lab differs from the model (${where})`).toEqual(
    hashes,
  )
  const backup = await stage.backUpWell(vm)
  expect(reasonCodes(backup), where).toEqual(expectedReasons)
  model.noteBackup()
  return { backup, hashes }
}

async function compareNewest(kept: readonly { backup: Backup; hashes: DiskHashes }[], where: string) {
  const newest = kept.at(-1)
  if (!newest) throw new Error('There is no backup')
  expect(await restoredHashes(stage, newest.backup), where).toEqual(newest.hashes)
}

/** Later backups have taken nothing away from earlier ones. */
async function compareAll(kept: readonly { backup: Backup; hashes: DiskHashes }[], seed: number) {
  expect(kept).toHaveLength(ROUNDS)
  for (const [round, { backup, hashes }] of kept.entries()) {
    const restored = await restoredHash(stage, backup, ALWAYS_THERE)
    expect(restored, `seed ${seed}, round ${round}, at the end`).toBe(hashes.get(ALWAYS_THERE))
  }
}
