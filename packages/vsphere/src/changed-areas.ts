import { invalidAnswer } from './soap/soap-message.ts'
import type { VimClient } from './soap/vim-client.ts'
import type { XmlElement } from './soap/xml-element.ts'
import type { ChangedAreasQuery, DiskArea } from './types.ts'

const METHOD = 'QueryChangedDiskAreas'

/**
 * Asks for changed areas until the whole disk is covered: one answer holds about 2,000 areas and says by its
 * `startOffset` and `length` which part of the disk it speaks of. An area that is lost here is a block that is
 * not backed up, so an answer that skips, stands still or points past the disk is refused.
 */
export async function queryChangedAreas(vim: VimClient, query: ChangedAreasQuery): Promise<DiskArea[]> {
  const { vm, snapshot, deviceKey, changeId, capacityBytes, signal } = query
  const areas: DiskArea[] = []
  let covered = 0
  while (covered < capacityBytes) {
    const call = {
      target: { type: 'VirtualMachine', value: vm },
      method: METHOD,
      args: {
        snapshot: { type: 'VirtualMachineSnapshot', value: snapshot },
        deviceKey,
        startOffset: covered,
        changeId,
      },
    }
    const info = (await vim.call(call, { signal })).need('returnval')
    areas.push(...areasOf(info, capacityBytes))
    covered = endOf(info, covered, capacityBytes)
  }
  return mergeAreas(areas)
}

/** Sorts areas and joins those that touch or overlap. */
export function mergeAreas(areas: readonly DiskArea[]): DiskArea[] {
  const merged: { offset: number; length: number }[] = []
  for (const { offset, length } of areas.toSorted((a, b) => a.offset - b.offset)) {
    const last = merged.at(-1)
    if (last === undefined || offset > last.offset + last.length) merged.push({ offset, length })
    else last.length = Math.max(last.length, offset + length - last.offset)
  }
  return merged
}

/** Where the answer ends; it has to begin where the last one ended, or before, and go further. */
function endOf(info: XmlElement, covered: number, capacityBytes: number): number {
  const start = info.need('startOffset').asNumber()
  const end = start + info.need('length').asNumber()
  if (start > covered) throw invalidAnswer(METHOD, `skips from ${covered} to ${start}`)
  if (end <= covered) throw invalidAnswer(METHOD, `does not go beyond ${covered}`)
  if (end > capacityBytes) throw invalidAnswer(METHOD, `ends at ${end} on a disk of ${capacityBytes} bytes`)
  return end
}

function areasOf(info: XmlElement, capacityBytes: number): DiskArea[] {
  return info.children('changedArea').flatMap(element => {
    const offset = element.need('start').asNumber()
    const length = element.need('length').asNumber()
    if (offset < 0 || length < 0 || offset + length > capacityBytes) {
      throw invalidAnswer(METHOD, `holds ${length} bytes at ${offset} on a disk of ${capacityBytes} bytes`)
    }
    return length === 0 ? [] : [{ offset, length }]
  })
}
