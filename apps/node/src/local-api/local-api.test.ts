import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClientOf } from '@sendense/client'
import { type CaptureState, nodeApi } from '@sendense/contracts'
import { newId } from '@sendense/platform'
import { FakeClock, memoryLog } from '@sendense/platform/testing'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { CapturesService } from '../captures/captures.service.ts'
import { DiscoveryService } from '../discovery/discovery.service.ts'
import { FakeVsphere } from '../testing/fake-vsphere.ts'
import { aDisk, aVm } from '../testing/makers.ts'
import { VcenterConnector } from '../vcenter/vcenter-connector.ts'
import { type LocalApi, serveLocalApi } from './local-api.ts'

const KNOWN: CaptureState = { jobId: newId() as never, state: 'running', step: 'read', failure: null }

let folder: string
let api: LocalApi
let log: ReturnType<typeof memoryLog>
let problems: string[]
let vsphere: FakeVsphere

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-api-'))
  log = memoryLog()
  problems = []
  vsphere = new FakeVsphere()
  const vcenters = new VcenterConnector({
    connect: vsphere.connect,
    fetchThumbprint: async () => vsphere.thumbprint,
    unseal: async () => '',
  })
  api = await serveLocalApi({
    port: 0,
    apiFile: join(folder, 'api.json'),
    log,
    services: {
      discovery: new DiscoveryService({ vcenters, log }),
      captures: {
        state: jobId => (jobId === KNOWN.jobId ? KNOWN : { ...KNOWN, jobId, state: 'unknown', step: null }),
      } as Pick<CapturesService, 'state'> as CapturesService,
      enrollment: () => ({
        ...{ nodeId: null, status: 'not-paired', hubUrl: null, keyFingerprint: 'ab', isConnected: false },
      }),
      problems: () => problems,
      clock: new FakeClock(),
    },
  })
})
afterEach(async () => {
  await api[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

async function client(token?: string) {
  const file = JSON.parse(await readFile(join(folder, 'api.json'), 'utf8'))
  return createClientOf(nodeApi, { baseUrl: `${file.url}/api/v1`, token: token ?? file.token })
}

test('listens on loopback only, and the token is for the Node’s user only', async () => {
  expect(new URL(api.url).hostname).toBe('127.0.0.1')
  expect((await stat(join(folder, 'api.json'))).mode & 0o777).toBe(0o600)
})

test('health is for everybody, and names what is wrong', async () => {
  const anyone = await client('wrong')
  expect(await anyone.health.getHealth()).toMatchObject({ status: 'ok', product: 'node', problems: [] })
  problems.push('something is left behind')
  expect(await anyone.health.getHealth()).toMatchObject({
    status: 'degraded',
    problems: ['something is left behind'],
  })
})

test('everything else needs the token', async () => {
  const stranger = await client('wrong')
  await expect(stranger.node.getEnrollment()).rejects.toMatchObject({ problem: { code: 'unauthenticated' } })
  expect(await (await client()).node.getEnrollment()).toMatchObject({ status: 'not-paired' })
})

test('tells where a capture stands, and that it knows nothing of another', async () => {
  const { node } = await client()
  expect(await node.getProgress({ params: { jobId: KNOWN.jobId } })).toEqual(KNOWN)
  const unknown = node.getProgress({ params: { jobId: newId() as never } })
  await expect(unknown).rejects.toMatchObject({ problem: { code: 'not-found' } })
})

test('discovers with credentials that are given, and keeps and logs none of them', async () => {
  vsphere.vms.push(aVm({ name: 'Web' }), aVm({ name: 'db', disks: [aDisk({ isIndependent: true })] }))
  const { node } = await client()
  const body = { host: 'vc.test', username: 'backup', password: 'right', thumbprint: 'ab'.repeat(32) }
  const { vms } = await node.discoverVms({ body })
  expect(vms.map(vm => vm.name)).toEqual(['db', 'Web'])
  expect(vms[0]?.disks[0]?.excluded).toMatchObject({ code: 'disk-independent' })
  expect((await node.discoverVms({ body: { ...body, nameContains: 'we' } })).vms).toHaveLength(1)
  const refused = node.discoverVms({ body: { ...body, password: 'wr0ng' } })
  await expect(refused).rejects.toMatchObject({ problem: { code: 'vcenter-credentials-invalid' } })
  expect(JSON.stringify(log.lines)).not.toContain('wr0ng')
  expect(vsphere.openSessions).toBe(0)
})
