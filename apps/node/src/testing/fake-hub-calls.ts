import type { HubMethods, TunnelCaller } from '@sendense/contracts'
import type { AppError } from '@sendense/platform'
import type { HubCalls } from '../hub-link/hub-calls.ts'

type Hub = TunnelCaller<HubMethods>
type Params<N extends keyof Hub> = Parameters<Hub[N]>[0]
type Answer<N extends keyof Hub> = Awaited<ReturnType<Hub[N]>>

/** A Hub without a link: keeps what it is told, and answers what a test wants. */
export class FakeHubCalls implements HubCalls {
  /** Names of the calls in order; reports of progress are left out. */
  readonly calls: string[] = []
  readonly steps: string[] = []
  readonly begun: Params<'beginDisk'>[] = []
  readonly finished: Params<'finishCapture'>[] = []
  plan: Params<'planCapture'> | undefined
  committed: Params<'commitCapture'> | undefined
  /** Base change id of every disk; without it all are read in full. */
  baseChangeId: string | undefined
  readonly #failures = new Map<keyof Hub, AppError[]>()
  /** Run when a method is called, before it answers. */
  readonly onCallOf = new Map<keyof Hub, () => void>()

  failNext(name: keyof Hub, ...errors: AppError[]): void {
    this.#failures.set(name, [...(this.#failures.get(name) ?? []), ...errors])
  }

  readonly #hub: Hub = {
    hello: async () => ({ version: '0.0.0', tunnelVersion: 1 }),
    reportStep: async ({ step, state }) => {
      this.steps.push(`${step} ${state}`)
      return {}
    },
    reportProgress: async () => ({}),
    planCapture: async params => {
      this.#enter('planCapture')
      this.plan = params
      return this.#planFor(params)
    },
    beginDisk: async params => {
      this.#enter('beginDisk')
      this.begun.push(params)
      return {}
    },
    commitCapture: async params => {
      this.#enter('commitCapture')
      this.committed = params
      return {
        backupId: params.jobId as unknown as Answer<'commitCapture'>['backupId'],
        restorePointId: 'r1',
      }
    },
    finishCapture: async params => {
      this.#enter('finishCapture')
      this.finished.push(params)
      return {}
    },
  }

  async tell(call: (hub: Hub) => Promise<unknown>): Promise<boolean> {
    await call(this.#hub)
    return true
  }

  async ask<T>(call: (hub: Hub) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    const answer = await call(this.#hub)
    signal.throwIfAborted()
    return answer
  }

  #enter(name: keyof Hub): void {
    this.calls.push(name)
    this.onCallOf.get(name)?.()
    const failure = this.#failures.get(name)?.shift()
    if (failure) throw failure
  }

  #planFor({ disks }: Params<'planCapture'>): Answer<'planCapture'> {
    const { baseChangeId } = this
    return {
      disks: disks.map(({ diskKey }) =>
        baseChangeId === undefined ? { diskKey, reason: 'first-backup' as const } : { diskKey, baseChangeId },
      ),
      dataPlane: { port: 9, captureId: 'capture', ticket: 'ticket', chunkBytes: 1024 * 1024 },
    }
  }
}
