import { describe, expect, it } from 'vitest'
import { fetchThumbprint } from '../soap/certificate-pin.ts'
import { VimClient } from '../soap/vim-client.ts'
import type { MoRef } from '../soap/xml-element.ts'
import { faultAnswer, type SeenCall, startScriptedServer, withLogin } from '../testing/scripted-server.ts'
import { decodeName, PlaceIndex } from './place-index.ts'

interface Entry {
  readonly type: string
  readonly name: string
  readonly parent?: string
}

const TREE: Readonly<Record<string, Entry>> = {
  'group-d1': { type: 'Folder', name: 'Datacenters' },
  'group-d2': { type: 'Folder', name: 'Europe', parent: 'group-d1' },
  'datacenter-2': { type: 'Datacenter', name: 'Wien', parent: 'group-d2' },
  'group-v3': { type: 'Folder', name: 'vm', parent: 'datacenter-2' },
  'group-v4': { type: 'Folder', name: 'Prod %2f [1]', parent: 'group-v3' },
  'group-v5': { type: 'Folder', name: 'Wéb', parent: 'group-v4' },
  'resgroup-v6': { type: 'VirtualApp', name: 'App', parent: 'group-v5' },
  'group-h7': { type: 'Folder', name: 'host', parent: 'datacenter-2' },
  'domain-c8': { type: 'ClusterComputeResource', name: 'Cluster A', parent: 'group-h7' },
  'host-9': { type: 'HostSystem', name: 'esx1', parent: 'domain-c8' },
  'domain-s10': { type: 'ComputeResource', name: 'esx2', parent: 'group-h7' },
  'host-11': { type: 'HostSystem', name: 'esx2', parent: 'domain-s10' },
}

function ref(value: string): MoRef {
  return { type: TREE[value]?.type ?? 'Folder', value }
}

/** Answers with the tree, and faults like vCenter when one of the objects does not exist. */
function answer(call: SeenCall) {
  const asked = call.body
    .need('specSet')
    .children('objectSet')
    .map(set => set.need('obj').asRef())
  const gone = asked.find(({ value }) => TREE[value] === undefined)
  if (gone !== undefined) {
    const fields = `<obj type="${gone.type}">${gone.value}</obj>`
    return faultAnswer('ManagedObjectNotFound', { fields })
  }
  return `<returnval>${asked.map(({ value }) => objectXml(value)).join('')}</returnval>`
}

function objectXml(value: string): string {
  const { type, name, parent } = TREE[value] ?? { type: '', name: '' }
  const path = type === 'VirtualApp' ? 'parentFolder' : 'parent'
  const above =
    parent === undefined
      ? ''
      : `<propSet><name>${path}</name><val type="${ref(parent).type}">${parent}</val></propSet>`
  return `<objects><obj type="${type}">${value}</obj><propSet><name>name</name><val>${name}</val></propSet>${above}</objects>`
}

async function withIndex(body: (index: PlaceIndex, calls: SeenCall[]) => Promise<void>) {
  await using server = await startScriptedServer(withLogin(answer))
  const { sha1: thumbprint } = await fetchThumbprint('127.0.0.1', server.port)
  const vim = await VimClient.connect({ url: server.url, user: 'u', password: 'p', thumbprint })
  try {
    await body(new PlaceIndex(vim), server.calls)
  } finally {
    await vim.close()
  }
}

describe('the place of a VM', () => {
  it('is its folders below the datacenter, its host and its cluster', async () => {
    await withIndex(async index => {
      await index.load([ref('group-v5'), ref('host-9'), ref('host-11'), ref('group-v3')])
      expect(index.placeOf(ref('group-v5'), ref('host-9'))).toEqual({
        folderPath: '/Prod / [1]/Wéb',
        datacenter: 'Wien',
        host: 'esx1',
        cluster: 'Cluster A',
      })
      expect(index.placeOf(ref('group-v3'), ref('host-11'))).toEqual({
        folderPath: '/',
        datacenter: 'Wien',
        host: 'esx2',
        cluster: undefined,
      })
    })
  })

  it('goes through vApps', async () => {
    await withIndex(async index => {
      await index.load([ref('resgroup-v6')])
      expect(index.placeOf(ref('resgroup-v6'), undefined).folderPath).toBe('/Prod / [1]/Wéb/App')
    })
  })

  it('costs some calls for each level of the tree and none for what is known', async () => {
    await withIndex(async (index, calls) => {
      const before = calls.length
      await index.load(['group-v5', 'group-v4', 'host-9', 'host-11', 'host-9'].map(ref))
      const cost = calls.length - before
      expect(cost).toBeLessThanOrEqual(9)
      await index.load(['group-v5', 'host-11', 'group-d1'].map(ref))
      expect(calls).toHaveLength(before + cost)
    })
  })

  it('survives folders that are deleted while it is read', async () => {
    await withIndex(async index => {
      await index.load([ref('group-v404'), ref('group-v5'), ref('group-v405')])
      expect(index.placeOf(ref('group-v5'), undefined).datacenter).toBe('Wien')
      expect(index.placeOf(ref('group-v404'), undefined)).toMatchObject({
        folderPath: '/',
        datacenter: undefined,
      })
    })
  })
})

describe('decodeName', () => {
  it('decodes exactly the three characters that vSphere escapes', () => {
    expect(decodeName('a%2fb%2Fc%5cd%25 50%2520%20')).toBe('a/b/c\\d% 50%20%20')
  })
})
