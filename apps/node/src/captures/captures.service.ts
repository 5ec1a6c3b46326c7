import type { CaptureOrder, CaptureState, JobId } from '@sendense/contracts'
import { AppError, type Logger } from '@sendense/platform'
import type { Ledger, LedgerRecord } from '../ledger/ledger.ts'
import type { CaptureEntry, CaptureOutcome } from '../ledger/ledger-entry.ts'
import { describeLeftovers } from '../ledger/leftovers.ts'
import type { Sweeper } from '../ledger/sweeper.ts'
import type { Capture } from './capture.ts'
import type { OutcomeDelivery } from './outcome-delivery.ts'

export interface CapturesServiceDeps {
  readonly makeCapture: (order: CaptureOrder) => Capture
  readonly ledger: Ledger
  readonly sweeper: Pick<Sweeper, 'nudge'>
  readonly delivery: OutcomeDelivery
  readonly log: Logger
  /** How long a stopping Node waits for the Hub to take the last words. */
  readonly farewellMs?: number
}

const FAREWELL_MS = 3000
/** Ended captures whose state is still told to whoever asks. */
const REMEMBERED_MAX = 1000

/** The captures of this Node: those that run, and the last word on those that have ended. */
export class CapturesService {
  readonly #deps: CapturesServiceDeps
  readonly #running = new Map<JobId, { capture: Capture; cleanedUp: PromiseWithResolvers<void> }>()
  readonly #ended = new Map<JobId, CaptureState>()
  /** Ended, and the Hub does not know how. */
  readonly #undelivered = new Set<JobId>()
  readonly #work = new Set<Promise<void>>()
  readonly #stopped = new AbortController()
  #isStopping = false

  constructor(deps: CapturesServiceDeps) {
    this.#deps = deps
  }

  /** Accepts an order. The same job twice is one capture, also when it has ended already. */
  async start(order: CaptureOrder): Promise<void> {
    const { jobId } = order
    if (this.#running.has(jobId) || this.#ended.has(jobId)) return
    if (this.#isStopping) throw new AppError('node-unreachable', { detail: 'The Node is stopping' })
    this.#refuseSecondOf(order)
    const capture = this.#deps.makeCapture(order)
    this.#running.set(jobId, { capture, cleanedUp: Promise.withResolvers() })
    try {
      const record = await this.#deps.ledger.record<CaptureEntry>({ kind: 'capture', jobId, outcome: null })
      this.#inBackground(this.#runToTheEnd(capture, record))
    } catch (error) {
      this.#noLongerRuns(jobId)
      throw error
    }
  }

  /** Asks a capture to stop. One that is not known, or has ended, needs no stopping. */
  cancel(jobId: JobId): void {
    this.#running.get(jobId)?.capture.cancel(new AppError('job-cancelled'))
  }

  state(jobId: JobId): CaptureState {
    const known = this.#running.get(jobId)?.capture.state ?? this.#ended.get(jobId)
    return known ?? { jobId, state: 'unknown', step: null, failure: null }
  }

  /** What the Hub may not know yet: captures that run, and those that ended while it could not be told. */
  openStates(): CaptureState[] {
    const open = [...this.#running.keys(), ...this.#undelivered]
    return open.map(jobId => this.state(jobId))
  }

  /**
   * Takes up what an earlier process has left: outcomes that the Hub has not heard, and captures that were
   * interrupted. To be called before the link is up, so that `hello` names them; the last word on them waits for the
   * first sweep, because it says what is left.
   */
  takeUpEarlier(firstSweep: Promise<void>): void {
    const { ledger } = this.#deps
    for (const record of ledger.abandoned('capture')) {
      const { jobId } = record.entry
      const { state, failure } = record.entry.outcome ?? INTERRUPTED
      this.#noteEnd(jobId, { jobId, step: null, state, failure })
      const deliver = async () => {
        await firstSweep
        const interrupted = { ...INTERRUPTED, leftovers: describeLeftovers(ledger, jobId) }
        await this.#deliver(record, record.entry.outcome ?? interrupted)
      }
      this.#inBackground(deliver())
    }
  }

  /** Asks all captures to stop for this reason and resolves when they have cleaned up. */
  async cancelAll(reason: AppError): Promise<void> {
    const running = [...this.#running.values()]
    for (const { capture } of running) capture.cancel(reason)
    await Promise.all(running.map(({ cleanedUp }) => cleanedUp.promise))
  }

  /** Like `cancelAll`, and no new ones. Outcomes that the Hub does not take soon are kept for the next start. */
  async stop(): Promise<void> {
    this.#isStopping = true
    const reason = new AppError('job-interrupted', { detail: 'The Node was stopped during the capture' })
    await this.cancelAll(reason)
    const timer = setTimeout(() => this.#stopped.abort(reason), this.#deps.farewellMs ?? FAREWELL_MS)
    await Promise.all(this.#work)
    clearTimeout(timer)
  }

  #refuseSecondOf({ vm, vcenterInstanceUuid }: CaptureOrder): void {
    for (const { capture } of this.#running.values()) {
      const { order } = capture
      const isSame =
        order.vm.instanceUuid === vm.instanceUuid && order.vcenterInstanceUuid === vcenterInstanceUuid
      if (!isSame) continue
      const detail = `The VM "${vm.name}" is being captured already, by job ${order.jobId}`
      throw new AppError('job-already-running', { detail })
    }
  }

  async #runToTheEnd(capture: Capture, record: LedgerRecord<CaptureEntry>): Promise<void> {
    const { jobId } = capture.order
    const outcome = await capture.run()
    this.#noteEnd(jobId, capture.state)
    this.#noLongerRuns(jobId)
    this.#deps.sweeper.nudge()
    await this.#deliver(record, outcome)
  }

  async #deliver(record: LedgerRecord<CaptureEntry>, outcome: CaptureOutcome): Promise<void> {
    await this.#deps.delivery.deliver(record, outcome, this.#stopped.signal)
    this.#undelivered.delete(record.entry.jobId)
  }

  #noteEnd(jobId: JobId, state: CaptureState): void {
    this.#undelivered.add(jobId)
    this.#ended.set(jobId, state)
    const oldest = this.#ended.keys().next()
    if (this.#ended.size > REMEMBERED_MAX && !oldest.done) this.#ended.delete(oldest.value)
  }

  #noLongerRuns(jobId: JobId): void {
    this.#running.get(jobId)?.cleanedUp.resolve()
    this.#running.delete(jobId)
  }

  #inBackground(work: Promise<void>): void {
    const caught = work.catch((error: unknown) => {
      if (!this.#stopped.signal.aborted)
        this.#deps.log.error('A capture could not be ended in order', { error })
    })
    this.#work.add(caught)
    void caught.finally(() => this.#work.delete(caught))
  }
}

const INTERRUPTED: CaptureOutcome = {
  state: 'failed',
  failure: {
    code: 'job-interrupted',
    detail: 'The Node was restarted during the capture. Start it again: what was stored is not sent twice',
  },
  leftovers: [],
}
