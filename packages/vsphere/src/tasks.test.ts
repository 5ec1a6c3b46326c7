import { describe, expect, it } from 'vitest'
import { connectScripted } from './testing/connect-scripted.ts'
import { faultAnswer, type Script } from './testing/scripted-server.ts'

const SPEC = { name: 'sendense-1', quiesce: true }

function change(name: string, value: string): string {
  return `<changeSet><name>info.${name}</name><op>assign</op>${value}</changeSet>`
}

const state = (value: string) => change('state', `<val xsi:type="TaskInfoState">${value}</val>`)
const progress = (value: number) => change('progress', `<val xsi:type="xsd:int">${value}</val>`)
const RESULT = change(
  'result',
  '<val xsi:type="ManagedObjectReference" type="VirtualMachineSnapshot">snapshot-77</val>',
)

/** Plays a vCenter on which the task goes through these polls, one answer each. */
function taskOf(polls: readonly string[], onPoll: Script = () => ''): Script {
  let poll = 0
  return async call => {
    if (call.method.endsWith('_Task')) return '<returnval type="Task">task-5</returnval>'
    if (call.method === 'CreatePropertyCollector') {
      return '<returnval type="PropertyCollector">session[1]pc</returnval>'
    }
    if (call.method === 'CreateFilter') return '<returnval type="PropertyFilter">session[1]f</returnval>'
    if (call.method !== 'WaitForUpdatesEx') return ''
    const special = await onPoll(call)
    if (special !== '') return special
    const changes = polls[poll++] ?? ''
    if (changes === '') return ''
    const object = `<objectSet><kind>modify</kind><obj type="Task">task-5</obj>${changes}</objectSet>`
    return `<returnval><version>${poll}</version><filterSet>${object}</filterSet></returnval>`
  }
}

describe('a task', () => {
  it('is followed by polls to its result, through polls that bring nothing', async () => {
    const polls = [
      state('queued'),
      '',
      state('running') + progress(10),
      progress(60),
      state('success') + RESULT,
    ]
    await using scripted = await connectScripted(taskOf(polls))
    const percents: number[] = []
    const onProgress = (percent: number) => percents.push(percent)
    expect(await scripted.session.createSnapshot('vm-1', SPEC, { onProgress })).toBe('snapshot-77')
    expect(percents).toEqual([10, 60])
    const { calls } = scripted.server
    expect(calls.find(call => call.method === 'CreateSnapshot_Task')?.body.elements).toMatchObject([
      { name: '_this', text: 'vm-1' },
      { name: 'name', text: 'sendense-1' },
      { name: 'description', text: '' },
      { name: 'memory', text: 'false' },
      { name: 'quiesce', text: 'true' },
    ])
    const versions = calls
      .filter(call => call.method === 'WaitForUpdatesEx')
      .map(call => call.body.string('version'))
    expect(versions).toEqual(['', '1', '1', '3', '4'])
    expect(calls.at(-1)).toMatchObject({ method: 'DestroyPropertyCollector', target: 'session[1]pc' })
  })

  it('that fails throws its fault with the words of the server', async () => {
    const error =
      '<val xsi:type="LocalizedMethodFault"><fault xsi:type="ApplicationQuiesceFault"/>' +
      '<localizedMessage>An error occurred while quiescing.</localizedMessage></val>'
    await using scripted = await connectScripted(taskOf([state('error') + change('error', error)]))
    await expect(scripted.session.createSnapshot('vm-1', SPEC)).rejects.toMatchObject({
      fault: 'ApplicationQuiesceFault',
      kind: 'other',
      message: 'CreateSnapshot_Task failed with ApplicationQuiesceFault: An error occurred while quiescing.',
    })
  })

  it('is watched again in a new session, without being started twice', async () => {
    const script = taskOf([state('success') + RESULT], call =>
      call.cookie?.includes('session-1') ? faultAnswer('NotAuthenticated') : '',
    )
    await using scripted = await connectScripted(script)
    expect(await scripted.session.createSnapshot('vm-1', SPEC)).toBe('snapshot-77')
    expect(scripted.methods().filter(method => method === 'CreateSnapshot_Task')).toHaveLength(1)
    expect(scripted.methods().filter(method => method === 'CreatePropertyCollector')).toHaveLength(2)
  })

  it('is asked to stop when the caller gives up', async () => {
    const controller = new AbortController()
    const script = taskOf([], () => {
      controller.abort(new Error('cancelled'))
      return new Promise(() => {})
    })
    await using scripted = await connectScripted(script)
    const { signal } = controller
    await expect(scripted.session.createSnapshot('vm-1', SPEC, { signal })).rejects.toThrow('cancelled')
    expect(scripted.methods().slice(-2)).toEqual(['DestroyPropertyCollector', 'CancelTask'])
    expect(scripted.server.calls.at(-1)?.target).toBe('task-5')
  })

  it('that the server forgets is an error, because nobody knows how it ended', async () => {
    const script = taskOf([], () => {
      const object = '<objectSet><kind>leave</kind><obj type="Task">task-5</obj></objectSet>'
      return `<returnval><version>1</version><filterSet>${object}</filterSet></returnval>`
    })
    await using scripted = await connectScripted(script)
    await expect(scripted.session.waitForTask('task-5')).rejects.toMatchObject({ kind: 'not-found' })
  })
})

describe('removing a snapshot', () => {
  const goneFault = (ref: string) =>
    faultAnswer('ManagedObjectNotFound', { fields: `<obj type="VirtualMachineSnapshot">${ref}</obj>` })

  it('that is gone already is no error', async () => {
    await using scripted = await connectScripted(() => goneFault('snapshot-7'))
    expect(await scripted.session.removeSnapshot('snapshot-7')).toBe(false)
  })

  it('that vanishes while its removal is running is no error either', async () => {
    const fault =
      '<fault xsi:type="ManagedObjectNotFound"><obj type="VirtualMachineSnapshot">snapshot-7</obj></fault>'
    const polls = [state('error') + change('error', `<val>${fault}<localizedMessage/></val>`)]
    await using scripted = await connectScripted(taskOf(polls))
    expect(await scripted.session.removeSnapshot('snapshot-7')).toBe(false)
  })

  it('does not take another missing object for success', async () => {
    await using scripted = await connectScripted(() => goneFault('host-1'))
    await expect(scripted.session.removeSnapshot('snapshot-7')).rejects.toMatchObject({ object: 'host-1' })
  })

  it('removes only this one and merges leftovers', async () => {
    await using scripted = await connectScripted(taskOf([state('success')]))
    expect(await scripted.session.removeSnapshot('snapshot-7')).toBe(true)
    const { body } = scripted.server.calls.find(call => call.method === 'RemoveSnapshot_Task') ?? {}
    expect([body?.boolean('removeChildren'), body?.boolean('consolidate')]).toEqual([false, true])
  })
})

describe('the list of snapshots', () => {
  it('is flat, parents first, however deep the tree', async () => {
    const tree = (id: number, children = '') =>
      `<snapshot type="VirtualMachineSnapshot">snapshot-${id}</snapshot><name>s${id} [ü]</name>` +
      '<description>a &amp; b</description><createTime>2026-11-23T12:00:00Z</createTime>' +
      `<state>poweredOn</state><quiesced>true</quiesced>${children}`
    let deep = ''
    for (let id = 32; id > 1; id--) deep = `<childSnapshotList>${tree(id, deep)}</childSnapshotList>`
    const second = `<rootSnapshotList>${tree(99)}</rootSnapshotList>`
    const info =
      '<currentSnapshot type="VirtualMachineSnapshot">snapshot-32</currentSnapshot>' +
      `<rootSnapshotList>${tree(1, deep)}</rootSnapshotList>${second}`
    await using scripted = await connectScripted(
      () =>
        `<returnval><objects><obj type="VirtualMachine">vm-1</obj><propSet><name>snapshot</name><val>${info}</val></propSet></objects></returnval>`,
    )
    const snapshots = await scripted.session.listSnapshots('vm-1')
    expect(snapshots).toHaveLength(33)
    expect(snapshots[0]).toEqual({
      moRef: 'snapshot-1',
      name: 's1 [ü]',
      description: 'a & b',
      createdAt: new Date('2026-11-23T12:00:00Z'),
      isQuiesced: true,
      isCurrent: false,
      parent: undefined,
    })
    expect(snapshots.at(-1)).toMatchObject({ moRef: 'snapshot-32', parent: 'snapshot-31', isCurrent: true })
  })
})
