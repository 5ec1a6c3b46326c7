import { NodeId } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { describe, expect, test } from 'vitest'
import type { EnrollmentStore, Node, PairingCodeRecord } from './enrollment.store.ts'

/** What every store of enrollments promises. */
export function enrollmentStoreSuite(name: string, open: () => Promise<EnrollmentStore>): void {
  describe(name, () => {
    test('a pairing code is found by the hash of its secret', async () => {
      const store = await open()
      const code = aCode()
      await store.addPairingCode(code)
      expect(await store.findPairingCode(code.secretSha256)).toEqual(code)
      expect(await store.findPairingCode('f'.repeat(64))).toBeUndefined()
    })

    test('of two enrollments with one code only one succeeds', async () => {
      const store = await open()
      const code = aCode()
      await store.addPairingCode(code)
      const [first, second] = [aNode(), aNode()]
      const results = await Promise.all([
        store.enroll(code.id, first, new Date(1)),
        store.enroll(code.id, second, new Date(1)),
      ])
      expect(results.filter(Boolean)).toHaveLength(1)
      const nodes = [await store.getNode(first.id), await store.getNode(second.id)]
      expect(nodes.filter(node => node !== undefined)).toHaveLength(1)
    })

    test('a Node comes back as it was stored', async () => {
      const store = await open()
      const node = await aStoredNode(store, {
        address: '2001:db8::1',
        name: 'Knoten Süd',
        bytesPerSecondMax: 2 ** 40,
      })
      expect(await store.getNode(node.id)).toEqual(node)
    })

    test('a Node is changed only from the states that were named', async () => {
      const store = await open()
      const { id } = await aStoredNode(store)
      const decidedAt = new Date('2026-01-02T03:04:05.678Z')
      expect(await store.changeNode(id, ['approved'], { status: 'revoked' })).toBe(false)
      expect(await store.changeNode(id, ['pending-verification'], { status: 'approved', decidedAt })).toBe(
        true,
      )
      expect(await store.getNode(id)).toMatchObject({ status: 'approved', decidedAt })
    })

    test('Nodes are listed newest first, page by page, by status', async () => {
      const store = await open()
      const ids: string[] = []
      for (let count = 0; count < 5; count += 1) ids.push((await aStoredNode(store)).id)
      const first = await store.listNodes({ limit: 3 })
      const second = await store.listNodes({
        limit: 3,
        ...(first.nextCursor && { cursor: first.nextCursor }),
      })
      expect([...first.items, ...second.items].map(node => node.id)).toEqual(ids.reverse())
      expect(second.nextCursor).toBeUndefined()
      expect((await store.listNodes({ limit: 3, status: 'revoked' })).items).toEqual([])
    })
  })
}

async function aStoredNode(store: EnrollmentStore, overrides: Partial<Node> = {}): Promise<Node> {
  const code = aCode()
  const node = { ...aNode(), ...overrides }
  await store.addPairingCode(code)
  await store.enroll(code.id, node, new Date(0))
  return node
}

function aCode(): PairingCodeRecord {
  const id = newId()
  return {
    id,
    secretSha256: id.replaceAll('-', '').padEnd(64, '0'),
    createdBy: 'admin',
    createdAt: new Date('2026-01-01T00:00:00.123Z'),
    expiresAt: new Date('2026-01-01T00:10:00.123Z'),
    usedAt: null,
    nodeId: null,
  }
}

/** A Node that has just enrolled. */
export function aNode(): Node {
  return {
    id: NodeId.parse(newId()),
    name: 'site-a',
    status: 'pending-verification',
    version: '0.1.0',
    signingKey: 's'.repeat(43),
    sealingKey: 'x'.repeat(43),
    keyFingerprint: 'ab'.repeat(32),
    address: '192.0.2.7',
    enrolledAt: new Date('2026-01-01T00:05:00.123Z'),
    decidedAt: null,
    decidedBy: null,
    decisionReason: null,
    lastSeenAt: null,
    bytesPerSecondMax: null,
  }
}
