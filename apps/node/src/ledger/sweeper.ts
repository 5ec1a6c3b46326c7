import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { VcenterAccess } from '@sendense/contracts'
import { AppError, type Clock, type Logger } from '@sendense/platform'
import { Backoff } from '../platform/backoff.ts'
import type { VcenterConnector } from '../vcenter/vcenter-connector.ts'
import { vcenterProblem } from '../vcenter/vcenter-problem.ts'
import type { Ledger, LedgerRecord } from './ledger.ts'
import type { SnapshotEntry } from './ledger-entry.ts'
import { describeReader, removeRecordedReader } from './remove-readers.ts'
import { describeSnapshot, removeRecordedSnapshots } from './remove-snapshots.ts'

export interface SweeperDeps {
  readonly ledger: Ledger
  readonly vcenters: VcenterConnector
  readonly runDirectory: string
  readonly clock: Clock
  readonly log: Logger
  readonly intervalMs?: number
}

/** How often it is looked whether something was left behind. */
const INTERVAL_MS = 60_000
/** The same while an order that was never answered is watched. */
const WATCH_INTERVAL_MS = 10_000
/** Pauses for a vCenter that cannot be reached. */
const RETRY = { firstMs: 5000, longestMs: 5 * 60_000 }
/** Login attempts with a password that was refused may lock the account. */
const REFUSED_PAUSE_MS = 60 * 60_000

/**
 * Removes what was left behind on the customer's systems, by us and by nobody else: what stands in the ledger and
 * belongs to no capture of this process. It goes on until everything is gone.
 */
export class Sweeper {
  readonly #deps: SweeperDeps
  readonly #pauses = new Map<string, { backoff: Backoff; untilMs: number }>()
  readonly #stopped = new AbortController()
  #nudged = Promise.withResolvers<void>()
  #running: Promise<void> = Promise.resolve()
  #sweeping: Promise<void> = Promise.resolve()

  constructor(deps: SweeperDeps) {
    this.#deps = deps
  }

  /** Removes what lies in the run directory and in no entry. To be called before anything is started there. */
  async clearRunDirectory(): Promise<void> {
    const { ledger, runDirectory } = this.#deps
    const recorded = new Set(ledger.abandoned('disk-reader').map(({ entry }) => entry.directory))
    for (const name of await readdir(runDirectory)) {
      const path = join(runDirectory, name)
      if (!recorded.has(path)) await rm(path, { recursive: true, force: true })
    }
  }

  /** Sweeps again and again; resolves when the first sweep is over. */
  async start(): Promise<void> {
    const first = this.sweep()
    this.#running = first.then(() => this.#sweepForEver())
    await first
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    await this.#running
  }

  /** Something may have been left behind just now. */
  nudge(): void {
    this.#nudged.resolve()
  }

  /** One sweep; sweeps never overlap. Failures are logged and tried again by the next one. */
  async sweep(): Promise<void> {
    this.#sweeping = this.#sweeping.then(() => this.#sweepOnce())
    await this.#sweeping
  }

  async #sweepForEver(): Promise<void> {
    const { clock, intervalMs = INTERVAL_MS } = this.#deps
    const { signal } = this.#stopped
    while (!signal.aborted) {
      const pause = new AbortController()
      const either = AbortSignal.any([signal, pause.signal])
      await Promise.race([
        clock.sleep(this.#pauseMs(intervalMs), either).catch(() => undefined),
        this.#nudged.promise,
      ])
      pause.abort()
      this.#nudged = Promise.withResolvers<void>()
      if (!signal.aborted) await this.sweep()
    }
  }

  /** Until a vCenter may be tried again, at most the interval. */
  #pauseMs(intervalMs: number): number {
    const isWatching = this.#deps.ledger.abandoned('snapshot').some(({ entry }) => entry.absentAt !== null)
    const nowMs = this.#deps.clock.now().getTime()
    const waits = [...this.#pauses.values()].map(({ untilMs }) => Math.max(0, untilMs - nowMs))
    return Math.min(intervalMs, ...waits, ...(isWatching ? [WATCH_INTERVAL_MS] : []))
  }

  async #sweepOnce(): Promise<void> {
    const { ledger, vcenters } = this.#deps
    for (const record of ledger.abandoned('disk-reader')) {
      await this.#attempt(describeReader(record.entry), () => removeRecordedReader(record))
    }
    const snapshots = ledger.abandoned('snapshot')
    const byAccess = Map.groupBy(snapshots, ({ entry }) => keyOf(vcenters.latestAccess(entry.vcenter)))
    for (const [key, records] of byAccess) await this.#sweepVcenter(key, records)
    for (const key of this.#pauses.keys()) if (!byAccess.has(key)) this.#pauses.delete(key)
  }

  async #sweepVcenter(key: string, records: LedgerRecord<SnapshotEntry>[]): Promise<void> {
    const { vcenters, clock } = this.#deps
    const pause = this.#pauses.get(key) ?? { backoff: new Backoff(RETRY), untilMs: 0 }
    const [first] = records
    if (!first || clock.now().getTime() < pause.untilMs) return

    const problem = await this.#removeSnapshots(vcenters.latestAccess(first.entry.vcenter), records)
    if (!problem) return void this.#pauses.delete(key)
    const isRefused = problem.code === 'vcenter-credentials-invalid'
    const pauseMs = isRefused ? REFUSED_PAUSE_MS : pause.backoff.nextMs()
    this.#pauses.set(key, { ...pause, untilMs: clock.now().getTime() + pauseMs })
  }

  /** Returns the last problem. A snapshot that cannot be removed does not keep the others. */
  async #removeSnapshots(
    access: VcenterAccess,
    records: LedgerRecord<SnapshotEntry>[],
  ): Promise<AppError | undefined> {
    const { vcenters, clock, log } = this.#deps
    let problem: AppError | undefined
    const connectionProblem = await this.#attempt(`snapshots at ${access.host}`, async () => {
      await using session = await vcenters.connect(access, this.#stopped.signal)
      for (const record of records) {
        const what = describeSnapshot(record.entry)
        const failure = await this.#attempt(what, async () => {
          const result = await removeRecordedSnapshots(session, record, clock)
          if (result === 'gone') log.info('Nothing is left of a capture in vSphere', { what })
        })
        problem = failure ?? problem
      }
    })
    return connectionProblem ?? problem
  }

  /** Runs one removal. A failure is logged and returned: the other removals are not to suffer from it. */
  async #attempt(what: string, work: () => Promise<void>): Promise<AppError | undefined> {
    try {
      await work()
      return undefined
    } catch (caught) {
      const error = AppError.from(vcenterProblem(caught))
      if (!this.#stopped.signal.aborted)
        this.#deps.log.warn('A leftover could not be removed; it is tried again', { what, error })
      return error
    }
  }
}

/** One vCenter with one set of credentials; the box is not a secret. */
function keyOf({ host, port, sealedCredentials }: VcenterAccess): string {
  return `${host}:${port} ${sealedCredentials}`
}
