import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mergeAreas } from './changed-areas.ts'
import { connectScripted } from './testing/connect-scripted.ts'
import { faultAnswer, type Script } from './testing/scripted-server.ts'

const CAPACITY = 1000
const QUERY = {
  vm: 'vm-1',
  snapshot: 'snapshot-2',
  deviceKey: 2000,
  changeId: '52 aa/1',
  capacityBytes: CAPACITY,
}

function info(
  startOffset: number,
  length: number,
  areas: readonly (readonly [number, number])[] = [],
): string {
  const changed = areas.map(
    ([start, size]) => `<changedArea><start>${start}</start><length>${size}</length></changedArea>`,
  )
  return `<returnval><startOffset>${startOffset}</startOffset><length>${length}</length>${changed.join('')}</returnval>`
}

async function query(script: Script) {
  await using scripted = await connectScripted(script)
  const areas = await scripted.session.queryChangedAreas(QUERY)
  return { areas, calls: scripted.server.calls.slice(2) }
}

describe('queryChangedAreas', () => {
  it('asks on from where the answer ended until the disk is covered', async () => {
    const { areas, calls } = await query(call => {
      const start = call.body.number('startOffset') ?? -1
      return info(start, start === 0 ? 300 : 350, [[start + 10, 20]])
    })
    expect(calls.map(call => call.body.number('startOffset'))).toEqual([0, 300, 650])
    expect(areas).toEqual([
      { offset: 10, length: 20 },
      { offset: 310, length: 20 },
      { offset: 660, length: 20 },
    ])
    expect(calls[0]?.body.elements.map(element => element.name)).toEqual([
      '_this',
      'snapshot',
      'deviceKey',
      'startOffset',
      'changeId',
    ])
    expect(calls[0]?.body.ref('snapshot')).toEqual({ type: 'VirtualMachineSnapshot', value: 'snapshot-2' })
  })

  it('sorts areas and joins those that touch across answers', async () => {
    const { areas } = await query(call =>
      call.body.number('startOffset') === 0
        ? info(0, 500, [
            [400, 100],
            [0, 50],
            [50, 50],
          ])
        : info(500, 500, [[500, 1]]),
    )
    expect(areas).toEqual([
      { offset: 0, length: 100 },
      { offset: 400, length: 101 },
    ])
  })

  it('finds nothing where nothing changed', async () => {
    expect((await query(() => info(0, CAPACITY))).areas).toEqual([])
  })

  it.each([
    ['stands still', () => info(0, 0)],
    ['goes back', () => info(0, -10)],
    ['skips a part', () => info(10, 990)],
    ['ends past the disk', () => info(0, CAPACITY + 1)],
    ['names an area past the disk', () => info(0, CAPACITY, [[990, 11]])],
    ['names an area before the disk', () => info(0, CAPACITY, [[-1, 11]])],
    ['has no length', () => '<returnval><startOffset>0</startOffset></returnval>'],
    ['is empty', () => ''],
  ])('refuses an answer that %s', async (_, script) => {
    await expect(query(script)).rejects.toMatchObject({ name: 'VsphereError', kind: 'invalid' })
  })

  it('tells a change id that the server does not know from one that is malformed', async () => {
    const unknown = faultAnswer('FileFault', { fields: '<file>/vmfs/volumes/ds/a/a-flat.vmdk</file>' })
    await expect(query(() => unknown)).rejects.toMatchObject({
      kind: 'file',
      fault: 'FileFault',
      file: '/vmfs/volumes/ds/a/a-flat.vmdk',
    })
    const malformed = faultAnswer('InvalidArgument', {
      fields: '<invalidProperty>changeId</invalidProperty>',
    })
    await expect(query(() => malformed)).rejects.toMatchObject({
      kind: 'invalid',
      invalidProperty: 'changeId',
    })
  })
})

describe('mergeAreas', () => {
  it('covers the same bytes with areas that are sorted and apart', () => {
    const area = fc.record({ offset: fc.nat(60), length: fc.integer({ min: 1, max: 12 }) })
    fc.assert(
      fc.property(fc.array(area, { maxLength: 30 }), areas => {
        const merged = mergeAreas(areas)
        expect(bytesOf(merged)).toEqual(bytesOf(areas))
        for (const [index, { offset }] of merged.entries()) {
          const before = merged[index - 1]
          if (before !== undefined) expect(offset).toBeGreaterThan(before.offset + before.length)
        }
      }),
    )
  })
})

function bytesOf(areas: readonly { offset: number; length: number }[]): Set<number> {
  const bytes = areas.flatMap(({ offset, length }) => Array.from({ length }, (_, index) => offset + index))
  return new Set(bytes.sort((a, b) => a - b))
}
