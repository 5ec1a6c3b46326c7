import { X509Certificate } from 'node:crypto'
import net, { type AddressInfo, type Socket } from 'node:net'
import tls from 'node:tls'
import { inspect } from 'node:util'
import { gzipSync } from 'node:zlib'
import { describe, expect, it, vi } from 'vitest'
import { connectVsphere } from '../connect-vsphere.ts'
import {
  faultAnswer,
  makeCertificate,
  type Script,
  startScriptedServer,
  withLogin,
} from '../testing/scripted-server.ts'
import { VsphereError } from '../vsphere-error.ts'
import { fetchThumbprint } from './certificate-pin.ts'
import { SoapTransport } from './soap-transport.ts'

const PASSWORD = 's3cret<&>"päss'
const LOGIN = { user: 'backup@vsphere.local', password: PASSWORD }

async function failureOf(promise: Promise<unknown>): Promise<VsphereError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (error instanceof VsphereError) return error
  throw new Error(`Expected a VsphereError, got ${inspect(error)}`)
}

/** A TLS server that only listens. */
async function startListener() {
  const sockets = new Set<Socket>()
  let received = ''
  let ended = 0
  const server = tls.createServer(await makeCertificate(), socket => {
    socket.on('data', chunk => {
      received += chunk.toString('utf8')
    })
    socket.on('error', () => {})
  })
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => ended++)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    get received() {
      return received
    },
    /** Connections that have come and gone. */
    get ended() {
      return ended
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

describe('the certificate', () => {
  it.each([
    ['SHA-1 with colons', (c: X509Certificate) => c.fingerprint],
    ['SHA-256 with colons', (c: X509Certificate) => c.fingerprint256],
    ['plain lower-case hex', (c: X509Certificate) => c.fingerprint256.replaceAll(':', '').toLowerCase()],
  ])('is accepted when it matches the thumbprint: %s', async (_, thumbprintOf) => {
    await using server = await startScriptedServer(withLogin(() => ''))
    const thumbprint = thumbprintOf(new X509Certificate(server.certificatePem))
    await using session = await connectVsphere({ url: server.url, ...LOGIN, thumbprint })
    expect(session.about).toMatchObject({ instanceUuid: 'u-u-i-d', apiVersion: '8.0.3.0' })
  })

  it.each(['00'.repeat(20), 'ab'.repeat(32)])(
    'that is not %s never sees a byte of ours',
    async thumbprint => {
      await using listener = await startListener()
      const host = { host: '127.0.0.1', port: listener.port }
      const error = await failureOf(connectVsphere({ ...host, ...LOGIN, thumbprint }))
      expect(error).toMatchObject({ kind: 'certificate', fault: 'CertificateMismatch', isTemporary: false })
      await vi.waitFor(() => expect(listener.ended).toBe(1))
      expect(listener.received).toBe('')

      // The same listener hears us well once the thumbprint is its own.
      const { sha1 } = await fetchThumbprint(host.host, host.port)
      await failureOf(connectVsphere({ ...host, ...LOGIN, thumbprint: sha1, timeoutMs: 200 }))
      expect(listener.received).toContain('RetrieveServiceContent')
    },
  )

  it('must be signed by a known authority when no thumbprint is given', async () => {
    await using server = await startScriptedServer(withLogin(() => ''))
    const error = await failureOf(connectVsphere({ url: server.url, ...LOGIN }))
    expect(error.kind).toBe('certificate')
    expect(server.calls).toEqual([])
    const options = { host: '127.0.0.1', port: server.port, ...LOGIN, caPem: server.certificatePem }
    await using session = await connectVsphere(options)
    expect(session.about.name).toBe('Scripted')
  })

  it('must be for the host that was asked', async () => {
    await using server = await startScriptedServer(withLogin(() => ''))
    const options = { host: 'localhost', port: server.port, ...LOGIN, caPem: server.certificatePem }
    expect(await failureOf(connectVsphere(options))).toMatchObject({ kind: 'certificate' })
  })

  it('can be asked for without sending anything', async () => {
    await using server = await startScriptedServer(withLogin(() => ''))
    const { fingerprint, fingerprint256, subject } = new X509Certificate(server.certificatePem)
    expect(await fetchThumbprint('127.0.0.1', server.port)).toMatchObject({
      sha1: fingerprint,
      sha256: fingerprint256,
      subject,
    })
    expect(server.calls).toEqual([])
  })

  it.each(['', 'zz', 'AB:CD', 'g'.repeat(40)])('cannot be pinned to %j', async thumbprint => {
    const error = await failureOf(connectVsphere({ host: '127.0.0.1', port: 9, ...LOGIN, thumbprint }))
    expect(error.fault).toBe('InvalidThumbprint')
  })
})

describe('the address', () => {
  it.each(['http://vc/sdk', 'vc', 'https://user:pw@vc/sdk'])('is refused: %s', async url => {
    expect(await failureOf(connectVsphere({ url, ...LOGIN }))).toMatchObject({ fault: 'InvalidEndpoint' })
  })
})

describe('errors', () => {
  const failing: [string, Script, Partial<VsphereError>][] = [
    ['a refused login', () => faultAnswer('InvalidLogin'), { kind: 'credentials', isTemporary: false }],
    ['a cut connection', () => 'hang up', { kind: 'unreachable', fault: 'ECONNRESET', isTemporary: true }],
    [
      'a proxy in between',
      () => ({ status: 503, body: '<html>no healthy upstream</html>' }),
      { kind: 'unreachable', fault: 'Http503', isTemporary: true },
    ],
    ['a wrong service', () => ({ status: 404, body: 'gone' }), { kind: 'invalid', fault: 'Http404' }],
    [
      'a redirect',
      () => ({ status: 301, body: '', headers: { location: 'https://127.0.0.1:9/' } }),
      { kind: 'invalid', fault: 'Http301' },
    ],
    [
      'an answer cut short',
      () => ({ status: 200, body: '<a><b>' }),
      { kind: 'invalid', fault: 'InvalidAnswer' },
    ],
    ['another answer', () => ({ status: 200, body: '<a/>' }), { kind: 'invalid', fault: 'InvalidAnswer' }],
    ['no answer in time', () => new Promise(() => {}), { kind: 'unreachable', isTemporary: true }],
  ]

  it.each(failing)('after %s hold no password', async (_, answer, expected) => {
    const script: Script = call => (call.method === 'Login' ? answer(call) : withLogin(() => '')(call))
    await using server = await startScriptedServer(script)
    const { sha1 } = await fetchThumbprint('127.0.0.1', server.port)
    const error = await failureOf(
      connectVsphere({ url: server.url, ...LOGIN, thumbprint: sha1, timeoutMs: 300 }),
    )
    expect(error).toMatchObject(expected)
    expect(server.calls.map(call => call.method)).toEqual(['RetrieveServiceContent', 'Login'])
    const everything = inspect(error, { depth: Number.POSITIVE_INFINITY, showHidden: true })
    expect(server.calls[1]?.body.string('password')).toBe(PASSWORD)
    expect(everything).not.toContain('s3cret')
    expect(JSON.stringify(error)).not.toContain('s3cret')
  })

  it('end an answer without end, even if it is sent compressed', async () => {
    const body = gzipSync('<a>'.repeat(100_000))
    const headers = { 'content-encoding': 'gzip' }
    await using server = await startScriptedServer(() => ({ status: 200, body, headers }))
    expect(body.length).toBeLessThan(2000)
    const { sha1: thumbprint } = await fetchThumbprint('127.0.0.1', server.port)
    const transport = new SoapTransport({ url: server.url, ...LOGIN, thumbprint }, 10_000)
    const call = { target: { type: 'ServiceInstance', value: 'ServiceInstance' }, method: 'CurrentTime' }
    expect(await failureOf(transport.send(call))).toMatchObject({
      fault: 'InvalidAnswer',
      message: 'The answer to CurrentTime is longer than this client accepts',
    })
    transport.close()
  })

  it('say that a server accepts connections and then says nothing', async () => {
    const sockets: Socket[] = []
    const server = net.createServer(socket => sockets.push(socket.on('error', () => {})))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const options = { host: '127.0.0.1', port, ...LOGIN, thumbprint: '00'.repeat(20), timeoutMs: 200 }
    expect(await failureOf(connectVsphere(options))).toMatchObject({ kind: 'unreachable', isTemporary: true })
    for (const socket of sockets) socket.destroy()
    await new Promise(resolve => server.close(resolve))
  })

  it('say that nobody listens', async () => {
    await using server = await startScriptedServer(withLogin(() => ''))
    const { url } = server
    await server[Symbol.asyncDispose]()
    const error = await failureOf(connectVsphere({ url, ...LOGIN, thumbprint: '00'.repeat(20) }))
    expect(error).toMatchObject({ kind: 'unreachable', fault: 'ECONNREFUSED', isTemporary: true })
  })

  it('name the fault by its xsi:type, whatever its element is called', async () => {
    const fault = faultAnswer('NoPermission', {
      element: 'NoPermissionFaultFault',
      text: 'Permission to perform this operation was denied.',
      fields:
        '<object type="VirtualMachine">vm-[1]</object><privilegeId>VirtualMachine.State.X</privilegeId>',
    })
    await using server = await startScriptedServer(withLogin(() => fault))
    const { sha256 } = await fetchThumbprint('127.0.0.1', server.port)
    await using session = await connectVsphere({ url: server.url, ...LOGIN, thumbprint: sha256 })
    expect(await failureOf(session.shutdownGuest('vm-[1]'))).toMatchObject({
      fault: 'NoPermission',
      kind: 'permission',
      privilegeId: 'VirtualMachine.State.X',
      object: 'vm-[1]',
      message:
        'ShutdownGuest failed with NoPermission: Permission to perform this operation was denied.' +
        ' (missing privilege VirtualMachine.State.X)',
    })
  })
})

describe('cancelling', () => {
  it('rejects with the reason of the signal, before and during a call', async () => {
    const controller = new AbortController()
    const reason = new Error('the job was cancelled')
    const script = withLogin(() => {
      controller.abort(reason)
      return new Promise(() => {})
    })
    await using server = await startScriptedServer(script)
    const { sha1 } = await fetchThumbprint('127.0.0.1', server.port)
    await using session = await connectVsphere({ url: server.url, ...LOGIN, thumbprint: sha1 })
    await expect(session.getVm('vm-1', { signal: controller.signal })).rejects.toBe(reason)
    const calls = server.calls.length
    await expect(session.getVm('vm-1', { signal: controller.signal })).rejects.toBe(reason)
    expect(server.calls).toHaveLength(calls)
    await expect(connectVsphere({ url: server.url, ...LOGIN, signal: controller.signal })).rejects.toBe(
      reason,
    )
  })
})
