import { localizedFaultOf } from './soap/fault.ts'
import { type RawUpdate, watchObjects } from './soap/object-updates.ts'
import { propertyOf, quietly, readObject, readObjects } from './soap/property-collector.ts'
import { invalidAnswer, type SoapCall } from './soap/soap-message.ts'
import type { VimClient } from './soap/vim-client.ts'
import type { MoRef, XmlElement } from './soap/xml-element.ts'
import type { TaskOperation, TaskOptions, VsphereTask } from './types.ts'
import { VsphereError } from './vsphere-error.ts'

/**
 * Starts a `…_Task` method and waits for its end; returns the managed object that it made, if it did. When
 * cancelled, the task is asked to stop and its end is not awaited.
 */
export async function runTask(
  vim: VimClient,
  call: SoapCall,
  options: TaskOptions = {},
): Promise<MoRef | undefined> {
  const task = (await vim.call(call, { signal: options.signal })).ref('returnval')
  if (task === undefined) throw invalidAnswer(call.method, 'names no task')
  try {
    return await waitForTask(vim, task, { ...options, method: call.method })
  } catch (error) {
    if (options.signal?.aborted) await quietly(vim, { target: task, method: 'CancelTask' })
    throw error
  }
}

/** Waits for the end of a task and throws its fault if it failed. */
export async function waitForTask(
  vim: VimClient,
  task: MoRef,
  { signal, onProgress, method = 'Task' }: TaskOptions & { readonly method?: string } = {},
): Promise<MoRef | undefined> {
  const info = new Map<string, XmlElement | undefined>()
  for await (const updates of watchObjects(vim, { type: 'Task', refs: [task], paths: TASK_PATHS, signal })) {
    for (const update of updates) {
      if (update.kind === 'leave') throw vanished(task)
      reportProgress(update, onProgress)
      for (const [path, value] of update.changes) info.set(path, value)
    }
    const state = info.get('info.state')?.text
    if (state === 'error') throw failureOf(method, info.get('info.error'))
    if (state === 'success') return resultOf(info.get('info.result'))
  }
  throw vanished(task)
}

/** Tasks on a VM that have not ended yet. The server keeps them in the VM's list of recent tasks. */
export async function findRunningTasks(
  vim: VimClient,
  vm: MoRef,
  operation?: TaskOperation,
  signal?: AbortSignal,
): Promise<VsphereTask[]> {
  const recent = propertyOf(await readObject(vim, vm, ['recentTask'], signal), 'recentTask')
  const tasks = await readTasks(vim, recent?.elements.map(element => element.asRef()) ?? [], signal)
  const wanted = operation === undefined ? undefined : DESCRIPTION_ID[operation]
  return tasks.flatMap(info => {
    const task = decodeRunning(info)
    return task !== undefined && (wanted === undefined || wanted.test(task.descriptionId)) ? [task] : []
  })
}

const TASK_PATHS = ['info.state', 'info.progress', 'info.error', 'info.result']

/** Servers differ in how they write these ids: `VirtualMachine.createSnapshot`, `vm.Snapshot.remove`, … */
const DESCRIPTION_ID: Readonly<Record<TaskOperation, RegExp>> = {
  CreateSnapshot: /\.createSnapshot/i,
  RemoveSnapshot: /snapshot\.remove|\.removeSnapshot/i,
  Reconfigure: /\.reconfig/i,
  PowerOn: /\.powerOn/i,
  PowerOff: /\.powerOff/i,
}

/** Reads each task by itself: old ones are dropped by the server at any time, and one gone is no failure. */
async function readTasks(
  vim: VimClient,
  refs: readonly MoRef[],
  signal?: AbortSignal,
): Promise<XmlElement[]> {
  const infos: XmlElement[] = []
  for (const ref of refs) {
    try {
      const [task] = await readObjects(vim, [ref], ['info'], signal)
      const info = task === undefined ? undefined : propertyOf(task, 'info')
      if (info !== undefined) infos.push(info)
    } catch (error) {
      if (!(error instanceof VsphereError && error.kind === 'not-found')) throw error
    }
  }
  return infos
}

function decodeRunning(info: XmlElement): VsphereTask | undefined {
  const state = info.string('state')
  const moRef = info.ref('task')?.value
  if (moRef === undefined || (state !== 'queued' && state !== 'running')) return undefined
  return {
    moRef,
    state,
    descriptionId: info.string('descriptionId') ?? '',
    queuedAt: info.date('queueTime'),
    user: info.string('reason.userName'),
  }
}

function reportProgress({ changes }: RawUpdate, onProgress: TaskOptions['onProgress']): void {
  const progress = changes.get('info.progress')
  if (progress !== undefined) onProgress?.(progress.asNumber())
}

function failureOf(method: string, error: XmlElement | undefined): VsphereError {
  if (error === undefined) return new VsphereError({ fault: 'UnknownFault', message: `${method} failed` })
  return localizedFaultOf(method, error)
}

function resultOf(result: XmlElement | undefined): MoRef | undefined {
  return result?.xsiType === 'ManagedObjectReference' ? result.asRef() : undefined
}

function vanished(task: MoRef): VsphereError {
  return new VsphereError({
    fault: 'ManagedObjectNotFound',
    message: `The server no longer knows ${task.value}, and so not how it ended`,
    object: task.value,
  })
}
