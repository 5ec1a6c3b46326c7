import { describe, expect, it } from 'vitest'
import { connectScripted } from '../testing/connect-scripted.ts'
import { faultAnswer, type Script, type SeenCall } from '../testing/scripted-server.ts'

const VIEW = '<returnval type="ContainerView">session[52a1-b2]c3</returnval>'

function property(name: string, value?: string): string {
  return `<propSet><name>${name}</name>${value === undefined ? '' : `<val>${value}</val>`}</propSet>`
}

function vm(id: string, more = property('config.firmware', 'efi')): string {
  return (
    `<objects><obj type="VirtualMachine">${id}</obj>` +
    property('name', `VM ${id}`) +
    property('config.instanceUuid', `i-${id}`) +
    property('config.uuid', `b-${id}`) +
    property('config.template', 'false') +
    property('config.version', 'vmx-21') +
    property('config.hardware.numCPU', '2') +
    property('config.hardware.memoryMB', '2048') +
    property('config.hardware.device', '') +
    property('runtime.powerState', 'poweredOff') +
    `${more}</objects>`
  )
}

/** Pages of one VM each; the token names the page that comes next. */
function paged(
  ids: readonly string[],
  onPage: (call: SeenCall, page: number) => ReturnType<Script> | undefined,
) {
  return (call: SeenCall): ReturnType<Script> => {
    if (call.method === 'CreateContainerView') return VIEW
    if (call.method === 'DestroyView' || call.method === 'CancelRetrievePropertiesEx') return ''
    const page = Number(call.body.string('token') ?? 0)
    const token = page + 1 < ids.length ? `<token>${page + 1}</token>` : ''
    return onPage(call, page) ?? `<returnval>${token}${vm(ids[page] ?? '?')}</returnval>`
  }
}

async function names(session: { listVms(o: { maxObjects: number }): AsyncIterable<{ name: string }> }) {
  const found: string[] = []
  for await (const { name } of session.listVms({ maxObjects: 1 })) found.push(name)
  return found
}

describe('a listing', () => {
  it('follows the pages to the last and destroys its view', async () => {
    await using scripted = await connectScripted(paged(['vm-1', 'vm-2', 'vm-3'], () => undefined))
    expect(await names(scripted.session)).toEqual(['VM vm-1', 'VM vm-2', 'VM vm-3'])
    expect(scripted.methods()).toEqual([
      'CreateContainerView',
      'RetrievePropertiesEx',
      'ContinueRetrievePropertiesEx',
      'ContinueRetrievePropertiesEx',
      'DestroyView',
    ])
    const [create, retrieve] = scripted.server.calls.slice(2)
    expect(create?.body.string('type')).toBe('VirtualMachine')
    expect(retrieve?.body.string('specSet.objectSet.obj')).toBe('session[52a1-b2]c3')
    expect(retrieve?.body.number('options.maxObjects')).toBe(1)
    expect(scripted.server.calls.at(-1)?.target).toBe('session[52a1-b2]c3')
  })

  it('takes a property without a value on a continued page for one that is unset', async () => {
    const pages = paged(['vm-1', 'vm-2'], (_, page) =>
      page === 1 ? `<returnval>${vm('vm-2', property('config.firmware'))}</returnval>` : undefined,
    )
    await using scripted = await connectScripted(pages)
    const firmwares: string[] = []
    for await (const { firmware } of scripted.session.listVms({ maxObjects: 1 })) firmwares.push(firmware)
    expect(firmwares).toEqual(['efi', 'bios'])
  })

  it('begins anew in a new session and names nothing twice', async () => {
    const pages = paged(['vm-1', 'vm-2', 'vm-3'], (call, page) =>
      page === 2 && call.cookie?.includes('session-1') ? faultAnswer('NotAuthenticated') : undefined,
    )
    await using scripted = await connectScripted(pages)
    expect(await names(scripted.session)).toEqual(['VM vm-1', 'VM vm-2', 'VM vm-3'])
    expect(scripted.methods().filter(method => method === 'CreateContainerView')).toHaveLength(2)
    expect(scripted.methods().filter(method => method === 'Login')).toHaveLength(1)
  })

  it('gives up when session after session is lost', async () => {
    await using scripted = await connectScripted(
      paged(['vm-1', 'vm-2'], (_, page) => (page === 1 ? faultAnswer('NotAuthenticated') : undefined)),
    )
    await expect(names(scripted.session)).rejects.toMatchObject({
      fault: 'SessionRenewed',
      isTemporary: true,
    })
  })

  it('cleans up when the reader leaves early', async () => {
    await using scripted = await connectScripted(paged(['vm-1', 'vm-2', 'vm-3'], () => undefined))
    for await (const { moRef } of scripted.session.listVms({ maxObjects: 1 })) {
      expect(moRef).toBe('vm-1')
      break
    }
    expect(scripted.methods().slice(-2)).toEqual(['CancelRetrievePropertiesEx', 'DestroyView'])
  })

  it('cleans up when it is cancelled', async () => {
    const controller = new AbortController()
    const pages = paged(['vm-1', 'vm-2'], (_, page) => {
      if (page === 0) return undefined
      controller.abort(new Error('stop'))
      return new Promise(() => {})
    })
    await using scripted = await connectScripted(pages)
    const { signal } = controller
    await expect(async () => {
      for await (const _ of scripted.session.listVms({ maxObjects: 1, signal }));
    }).rejects.toThrow('stop')
    expect(scripted.methods().at(-1)).toBe('DestroyView')
  })

  it('reports VMs that cannot be read instead of inventing them', async () => {
    const hidden =
      '<objects><obj type="VirtualMachine">vm-8</obj><propSet><name>name</name><val>a%2fb</val></propSet>' +
      '<missingSet><path>config.instanceUuid</path><fault><fault xsi:type="NoPermission">' +
      '<privilegeId>System.Read</privilegeId></fault></fault></missingSet></objects>'
    const orphan = '<objects><obj type="VirtualMachine">vm-9</obj></objects>'
    const all = `<returnval>${vm('vm-1')}${hidden}${orphan}</returnval>`
    await using scripted = await connectScripted(paged(['vm-1'], () => all))
    const unreadable: unknown[] = []
    const onUnreadable = (vm: unknown) => unreadable.push(vm)
    const found: string[] = []
    for await (const { moRef } of scripted.session.listVms({ onUnreadable })) found.push(moRef)
    expect(found).toEqual(['vm-1'])
    expect(unreadable).toEqual([
      { moRef: 'vm-8', name: 'a/b', reason: 'permission' },
      { moRef: 'vm-9', name: undefined, reason: 'no-configuration' },
    ])
  })

  it('of nothing is empty', async () => {
    await using scripted = await connectScripted(call => (call.method === 'CreateContainerView' ? VIEW : ''))
    expect(await names(scripted.session)).toEqual([])
  })
})

describe('one VM', () => {
  it('that the user may not read fails with the privilege that is missing', async () => {
    await using scripted = await connectScripted(
      () =>
        '<returnval><objects><obj type="VirtualMachine">vm-8</obj><missingSet><path>config.uuid</path><fault>' +
        '<fault xsi:type="NoPermission"><privilegeId>System.Read</privilegeId></fault></fault></missingSet>' +
        '</objects></returnval>',
    )
    await expect(scripted.session.getVm('vm-8')).rejects.toMatchObject({
      kind: 'permission',
      privilegeId: 'System.Read',
    })
  })

  it('whose answer makes no sense is an error and not a guess', async () => {
    const broken = vm('vm-1', '').replace('>2048<', '>lots<')
    await using scripted = await connectScripted(() => `<returnval>${broken}</returnval>`)
    await expect(scripted.session.getVm('vm-1')).rejects.toMatchObject({
      name: 'VsphereError',
      kind: 'invalid',
    })
  })
})
