import { describe, expect, it } from 'vitest'
import { connectVsphere } from '../connect-vsphere.ts'
import { connectScripted } from '../testing/connect-scripted.ts'
import {
  type Answer,
  faultAnswer,
  type SeenCall,
  startScriptedServer,
  withLogin,
} from '../testing/scripted-server.ts'
import { fetchThumbprint } from './certificate-pin.ts'

/** Holds only in the first session: whoever comes with another cookie is unknown. */
function onlyIn(session: string, call: SeenCall, answer: Answer): Answer {
  return call.cookie?.includes(session) ? answer : faultAnswer('NotAuthenticated')
}

const POWER_ON =
  '<returnval><objects><obj type="VirtualMachine">vm-1</obj><propSet><name>runtime.powerState</name>' +
  '<val>poweredOn</val></propSet></objects></returnval>'

const MISSING =
  '<returnval><objects><obj type="VirtualMachine">vm-1</obj><missingSet><path>runtime.powerState</path>' +
  '<fault><fault xsi:type="NotAuthenticated"><privilegeId>System.View</privilegeId></fault></fault>' +
  '</missingSet></objects></returnval>'

describe('a session that the server has dropped', () => {
  it('is renewed once, however many calls notice it at the same time', async () => {
    await using scripted = await connectScripted(call => onlyIn('session-2', call, POWER_ON))
    const states = await Promise.all(Array.from({ length: 12 }, () => scripted.session.powerState('vm-1')))
    expect(new Set(states)).toEqual(new Set(['on']))
    expect(scripted.methods().filter(method => method === 'Login')).toHaveLength(1)
    const login = scripted.server.calls.findLast(call => call.method === 'Login')
    expect(login?.cookie).toBeUndefined()
  })

  it('is recognised when the server says so only by missing properties', async () => {
    await using scripted = await connectScripted(call =>
      call.cookie?.includes('session-2') ? POWER_ON : MISSING,
    )
    expect(await scripted.session.powerState('vm-1')).toBe('on')
    expect(scripted.methods()).toEqual(['RetrievePropertiesEx', 'Login', 'RetrievePropertiesEx'])
  })

  it('is not renewed twice for one call', async () => {
    await using scripted = await connectScripted(() => faultAnswer('NotAuthenticated'))
    await expect(scripted.session.powerState('vm-1')).rejects.toMatchObject({ fault: 'NotAuthenticated' })
    expect(scripted.methods()).toEqual(['RetrievePropertiesEx', 'Login', 'RetrievePropertiesEx'])
  })

  it('is never renewed again after the credentials were refused', async () => {
    let logins = 0
    const script = withLogin(() => faultAnswer('NotAuthenticated'))
    await using server = await startScriptedServer(call =>
      call.method === 'Login' && ++logins > 1 ? faultAnswer('InvalidLogin') : script(call),
    )
    const { sha1: thumbprint } = await fetchThumbprint('127.0.0.1', server.port)
    await using session = await connectVsphere({ url: server.url, user: 'u', password: 'p', thumbprint })
    const attempts = Array.from({ length: 5 }, () => session.powerState('vm-1'))
    for (const attempt of await Promise.allSettled(attempts)) {
      expect(attempt).toMatchObject({ status: 'rejected', reason: { kind: 'credentials' } })
    }
    const calls = server.calls.length
    await expect(session.getVm('vm-1')).rejects.toMatchObject({ fault: 'InvalidLogin' })
    expect(logins).toBe(2)
    expect(server.calls).toHaveLength(calls)
  })

  it('is renewed later when the login failed for another reason', async () => {
    let logins = 0
    const script = withLogin(call => onlyIn('session-2', call, POWER_ON))
    await using server = await startScriptedServer(call =>
      call.method === 'Login' && ++logins === 2 ? { status: 503, body: 'starting' } : script(call),
    )
    const { sha1: thumbprint } = await fetchThumbprint('127.0.0.1', server.port)
    await using session = await connectVsphere({ url: server.url, user: 'u', password: 'p', thumbprint })
    await expect(session.powerState('vm-1')).rejects.toMatchObject({ isTemporary: true })
    expect(await session.powerState('vm-1')).toBe('on')
  })

  it('lets one caller go who gives up, and serves the others', async () => {
    const controller = new AbortController()
    const script = withLogin(call => onlyIn('session-2', call, POWER_ON))
    let logins = 0
    const { promise: gate, resolve: open } = Promise.withResolvers<void>()
    await using server = await startScriptedServer(async call => {
      if (call.method === 'Login' && ++logins === 2) {
        controller.abort(new Error('enough'))
        await gate
      }
      return script(call)
    })
    const { sha1: thumbprint } = await fetchThumbprint('127.0.0.1', server.port)
    await using session = await connectVsphere({ url: server.url, user: 'u', password: 'p', thumbprint })
    const patient = session.powerState('vm-1')
    await expect(session.powerState('vm-1', { signal: controller.signal })).rejects.toThrow('enough')
    open()
    expect(await patient).toBe('on')
    expect(logins).toBe(2)
  })
})

describe('a session', () => {
  it('speaks the version that the server has', async () => {
    await using scripted = await connectScripted(() => POWER_ON)
    await scripted.session.powerState('vm-1')
    expect(scripted.server.calls.map(call => call.action)).toEqual([
      '"urn:vim25/6.5"',
      '"urn:vim25/8.0.3.0"',
      '"urn:vim25/8.0.3.0"',
    ])
  })

  it('logs out once when it is disposed of, and takes no further calls', async () => {
    await using scripted = await connectScripted(() => POWER_ON)
    await scripted.session[Symbol.asyncDispose]()
    await scripted.session[Symbol.asyncDispose]()
    expect(scripted.methods()).toEqual(['Logout'])
    await expect(scripted.session.powerState('vm-1')).rejects.toMatchObject({ fault: 'SessionClosed' })
  })

  it('can be disposed of when the server is gone', async () => {
    await using scripted = await connectScripted(() => POWER_ON)
    await scripted.server[Symbol.asyncDispose]()
    await expect(scripted.session[Symbol.asyncDispose]()).resolves.toBeUndefined()
  })
})
