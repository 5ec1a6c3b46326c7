import {
  type DiskProgress,
  type JobId,
  JobId as JobIdSchema,
  type JobKind,
  type Page,
  type PageQuery,
  type Progress,
} from '@sendense/contracts'
import { AppError, type Clock, type Logger, newId } from '@sendense/platform'
import type { JobDefinition, Recovery } from './job-definition.ts'
import {
  isFinished,
  isSameLease,
  type Job,
  type JobEvent,
  type JobFilter,
  type JobsStore,
} from './jobs.store.ts'
import { LiveJob } from './live-job.ts'
import { toProgress } from './progress-view.ts'
import { recoverJob } from './recover-job.ts'
import { type Ending, ended, runJob } from './run-job.ts'

const HEARTBEAT_MS = 10_000
const LEASE_MS = 60_000
/** How often a Hub looks for jobs of others whose leases are over. A few heartbeats: who lives renews them meanwhile. */
const LOOK_FOR_LEFT_MS = 30_000
/** Pause before the end of a job is stored again after the database failed. */
const STORE_AGAIN_MS = 5000
/** How often a watcher looks whether a job that an earlier process left was taken over. */
const TAKE_OVER_POLL_MS = 500

export interface JobsOptions {
  store: JobsStore
  clock: Clock
  log: Logger
  /** Jobs that run at the same time; the others are queued. */
  runningMax?: number
  /** How long a stop waits for jobs to clean up. */
  stopGraceMs?: number
}

export interface StartJob {
  kind: JobKind
  /** What the job is about, for people. */
  subject: string
  subjectId: string
  /** Kept with the job: no secrets. */
  input: unknown
  /** One job at a time may hold it. */
  lockKey?: string
}

/** How a job has ended, and when. */
export type JobEnd = Pick<Job, 'state' | 'failure'> & { readonly finishedAt: Date }

interface Queued {
  readonly live: LiveJob
  readonly isResumed: boolean
}

/** Every long operation of the Hub: persisted, watched, cancelled and taken up again in one way. */
export class JobsService {
  readonly #options: Required<JobsOptions>
  /** Under this name the process holds the leases of its jobs. */
  readonly #processId = newId()
  // One input type a kind; the definition itself checks what it is given.
  readonly #definitions = new Map<JobKind, JobDefinition<unknown>>()
  readonly #live = new Map<JobId, LiveJob>()
  readonly #queue: Queued[] = []
  readonly #running = new Set<Promise<void>>()
  /** Taken over, and being looked at by their kind. */
  readonly #recovering = new Set<JobId>()
  readonly #closed = new AbortController()
  #closing: Promise<void> | undefined
  #looking: Promise<void> | undefined

  constructor(options: JobsOptions) {
    this.#options = { runningMax: 16, stopGraceMs: 10_000, ...options }
    this.#beat().catch(() => undefined)
  }

  /** Makes a kind of job known. To be done before `recover` and before the first start. */
  define<Input>(definition: JobDefinition<Input>): void {
    this.#definitions.set(definition.kind, definition as JobDefinition<unknown>)
  }

  /** Starts a job, or queues it. Fails with `job-already-running` when its lock key is held. */
  async start({ kind, subject, subjectId, input, lockKey }: StartJob): Promise<JobId> {
    const definition = this.#definitionOf(kind)
    this.#closed.signal.throwIfAborted()
    const job: Job = {
      id: JobIdSchema.parse(newId()),
      kind,
      subject,
      subjectId,
      state: 'queued',
      lockKey: lockKey ?? null,
      input: definition.input.parse(input),
      steps: definition.steps.map(step => ({ ...step, state: 'waiting', startedAt: null, finishedAt: null })),
      disks: [],
      failure: null,
      result: null,
      createdAt: this.#options.clock.now(),
      startedAt: null,
      finishedAt: null,
      deadlineAt: null,
      ...this.#lease(),
    }
    if (!(await this.#options.store.add(job))) {
      const detail = `A job of kind ${kind} is running for ${subject} already`
      throw new AppError('job-already-running', { detail })
    }
    this.#enqueue(job, { isResumed: false })
    return job.id
  }

  /** Asks a job to end. It is cancelled when it has cleaned up. */
  async cancel(jobId: JobId): Promise<Progress> {
    const live = this.#runningHere(jobId)
    if (!live) throw new AppError('conflict', { detail: `The job is ${(await this.#get(jobId)).state}` })
    if (live.job.state === 'cancelling') return live.progress
    const position = this.#queue.findIndex(queued => queued.live === live)
    if (position >= 0) {
      this.#queue.splice(position, 1)
      await this.#end(live, { state: 'cancelled' })
      return live.progress
    }
    await live.change({ state: 'cancelling' })
    await this.#note(jobId, 'info', 'Cancelling was asked for')
    live.stop.abort(new AppError('job-cancelled'))
    return live.progress
  }

  async get(jobId: JobId): Promise<Progress> {
    return this.#live.get(jobId)?.progress ?? toProgress(await this.#get(jobId))
  }

  /** How a job has ended; undefined while it has not, or when there is none. */
  async endOf(jobId: JobId): Promise<JobEnd | undefined> {
    const job = this.#live.get(jobId)?.job ?? (await this.#options.store.get(jobId))
    if (!job || !isFinished(job)) return undefined
    const { state, failure, finishedAt } = job
    return { state, failure, finishedAt: finishedAt ?? this.#options.clock.now() }
  }

  async list(query: PageQuery & JobFilter): Promise<Page<Progress>> {
    const page = await this.#options.store.list(query)
    return { ...page, items: page.items.map(job => this.#live.get(job.id)?.progress ?? toProgress(job)) }
  }

  /** The progress now, each change, and the end. */
  async *watch(jobId: JobId, signal: AbortSignal): AsyncGenerator<Progress> {
    const over = AbortSignal.any([signal, this.#closed.signal])
    for (;;) {
      const live = this.#live.get(jobId)
      if (live) return yield* live.watch(signal)
      const job = await this.#get(jobId)
      yield toProgress(job)
      if (isFinished(job)) return
      // An earlier process has left it, and it was not recovered yet.
      await this.#options.clock.sleep(TAKE_OVER_POLL_MS, over)
    }
  }

  /** All jobs that have not ended, of whatever process. */
  listUnfinished(): Promise<Job[]> {
    return this.#options.store.listUnfinished()
  }

  /** The history of a job, oldest first. */
  async events(jobId: JobId): Promise<JobEvent[]> {
    await this.#get(jobId)
    return this.#options.store.listEvents(jobId)
  }

  /** Records a step that is done elsewhere. Does nothing for a job that does not run here. */
  async setStep(jobId: JobId, step: string, state: 'running' | 'succeeded' | 'failed'): Promise<void> {
    await this.#runningHere(jobId)?.setStep(step, state)
  }

  /** Tells how far the disks of a job are. Does nothing for a job that does not run here. */
  report(jobId: JobId, disks: readonly DiskProgress[]): void {
    this.#runningHere(jobId)?.report(disks)
  }

  /**
   * Takes over what earlier processes left: queued jobs are queued again, running ones are recovered as their kind
   * says. To be called once, when all kinds are defined. With `isAlone` no other process can hold a lease; otherwise
   * it goes on looking for jobs whose process is gone.
   */
  async recover({ isAlone }: { isAlone: boolean }): Promise<void> {
    if (!isAlone) this.#looking ??= this.#lookForLeft().catch(() => undefined)
    const unfinished = await this.#options.store.listUnfinished()
    for (const job of unfinished.filter(one => isAlone || this.#isLeft(one))) await this.#takeOver(job)
  }

  /** Stops: no new jobs, and those that run are aborted and given some time to clean up. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#closed.abort(new AppError('job-interrupted', { detail: 'The Hub is stopping.' }))
    this.#queue.length = 0
    const reason = new AppError('job-interrupted', { detail: 'The Hub was stopped while the job ran' })
    for (const live of this.#live.values()) live.stop.abort(reason)
    const grace = new AbortController()
    const timeout = this.#options.clock.sleep(this.#options.stopGraceMs, grace.signal).catch(() => undefined)
    await Promise.race([Promise.all(this.#running), timeout])
    grace.abort()
    for (const live of this.#live.values()) live.leave()
    this.#live.clear()
  }

  #definitionOf(kind: JobKind): JobDefinition<unknown> {
    const definition = this.#definitions.get(kind)
    if (!definition) throw new Error(`Jobs of kind ${kind} were not defined`)
    return definition
  }

  #runningHere(jobId: JobId): LiveJob | undefined {
    const live = this.#live.get(jobId)
    return live?.isEnding === false ? live : undefined
  }

  async #get(jobId: JobId): Promise<Job> {
    const job = await this.#options.store.get(jobId)
    if (!job) throw new AppError('not-found', { detail: `There is no job ${jobId}.` })
    return job
  }

  #enqueue(job: Job, { isResumed }: { isResumed: boolean }): void {
    const log = this.#options.log.child({ jobId: job.id, kind: job.kind })
    const live = new LiveJob(job, { ...this.#options, log })
    this.#live.set(job.id, live)
    this.#queue.push({ live, isResumed })
    this.#runNext()
  }

  #runNext(): void {
    while (this.#running.size < this.#options.runningMax) {
      const next = this.#queue.shift()
      if (!next) return
      const running = this.#run(next).finally(() => {
        this.#running.delete(running)
        this.#runNext()
      })
      this.#running.add(running)
    }
  }

  /** Never rejects: what happens to a job is written to the job. */
  async #run({ live, isResumed }: Queued): Promise<void> {
    const definition = this.#definitionOf(live.job.kind)
    const ending = await this.#work(live, definition, isResumed)
    if (this.#isToBeContinued(ending, definition)) live.leave()
    else await this.#end(live, ending)
  }

  async #work(live: LiveJob, definition: JobDefinition<unknown>, isResumed: boolean): Promise<Ending> {
    const { clock } = this.#options
    const { id, kind } = live.job
    const log = this.#options.log.child({ jobId: id, kind })
    try {
      const startedAt = live.job.startedAt ?? clock.now()
      const deadlineAt = new Date(clock.now().getTime() + definition.timeoutMs)
      await live.change({ state: 'running', startedAt, deadlineAt, ...this.#lease() })
      await this.#note(id, 'info', isResumed ? 'Taken up again' : 'Started')
      const note = (level: JobEvent['level'], message: string) => this.#note(id, level, message)
      return await runJob(live, definition, { clock, log, isResumed, note })
    } catch (error) {
      log.error('A job could not be begun', { error })
      return { state: 'failed', failure: AppError.from(error).toFailure() }
    }
  }

  /** A kind that can recover is not failed by a stop: the next process goes on with it. */
  #isToBeContinued(ending: Ending, definition: JobDefinition<unknown>): boolean {
    const isInterrupted = ending.state === 'failed' && ending.failure.code === 'job-interrupted'
    return isInterrupted && definition.recover !== undefined && this.#closed.signal.aborted
  }

  /** Tries until the end is stored: its lock key would be held for ever. A stop leaves it to the next process. */
  async #end(live: LiveJob, ending: Ending): Promise<void> {
    const { clock, log } = this.#options
    const { id, kind } = live.job
    const change = ended(live.job, ending, clock.now())
    while (!(await this.#isEndStored(live, change, ending))) {
      if (this.#closed.signal.aborted) return live.leave()
      await clock.sleep(STORE_AGAIN_MS, this.#closed.signal).catch(() => undefined)
    }
    this.#live.delete(id)
    // Not what it has found, which may be long and is kept with the job.
    const failure = ending.state === 'failed' ? ending.failure : undefined
    log.info('A job has ended', { jobId: id, kind, state: ending.state, ...(failure && { failure }) })
  }

  async #isEndStored(live: LiveJob, change: Partial<Job>, ending: Ending): Promise<boolean> {
    try {
      await this.#note(live.job.id, ending.state === 'failed' ? 'error' : 'info', wordsOf(ending))
      await live.end(change)
      return true
    } catch (error) {
      this.#options.log.error('The end of a job could not be stored', { jobId: live.job.id, error })
      return false
    }
  }

  /** Ends by the rejection of the last sleep. */
  async #lookForLeft(): Promise<void> {
    const { clock, log } = this.#options
    let seen: Job[] = []
    for (;;) {
      await clock.sleep(LOOK_FOR_LEFT_MS, this.#closed.signal)
      seen = await this.#takeOverLeft(seen).catch(error => {
        log.warn('What other processes left could not be looked for', { error })
        return []
      })
    }
  }

  /**
   * Takes over the jobs that were seen left at the last look and are so still: a process that lives, but could not
   * reach the database, has renewed its leases since. Returns all that are left.
   */
  async #takeOverLeft(seen: readonly Job[]): Promise<Job[]> {
    const left = (await this.#options.store.listUnfinished()).filter(job => this.#isLeft(job))
    const stillLeft = left.filter(job => seen.some(one => one.id === job.id && isSameLease(one, job)))
    for (const job of stillLeft) await this.#takeOver(job)
    return left
  }

  #isLeft({ leaseExpiresAt }: Job): boolean {
    return leaseExpiresAt === null || leaseExpiresAt <= this.#options.clock.now()
  }

  /** Does nothing when the job is ours already, or another process was first. */
  async #takeOver(job: Job): Promise<void> {
    if (this.#live.has(job.id) || this.#recovering.has(job.id) || this.#closed.signal.aborted) return
    const lease = this.#lease()
    if (!(await this.#options.store.claim(job, lease))) return
    this.#recovering.add(job.id)
    try {
      await this.#recoverOne({ ...job, ...lease })
    } finally {
      this.#recovering.delete(job.id)
    }
  }

  async #recoverOne(job: Job): Promise<void> {
    const recovery = await recoverJob(job, this.#definitions.get(job.kind), this.#options.log)
    await this.#note(job.id, 'warn', 'The Hub was restarted before the job had ended')
    if (recovery.next === 'run') {
      this.#enqueue({ ...job, state: 'queued', ...this.#lease() }, { isResumed: job.startedAt !== null })
    } else {
      await this.#end(new LiveJob(job, this.#options), endingOf(recovery))
    }
  }

  async #note(jobId: JobId, level: JobEvent['level'], message: string): Promise<void> {
    await this.#options.store.addEvent({ id: newId(), jobId, at: this.#options.clock.now(), level, message })
  }

  #lease(): Pick<Job, 'heartbeatAt' | 'leaseOwner' | 'leaseExpiresAt'> {
    const now = this.#options.clock.now()
    return {
      heartbeatAt: now,
      leaseOwner: this.#processId,
      leaseExpiresAt: new Date(now.getTime() + LEASE_MS),
    }
  }

  /** Ends by the rejection of the last sleep. */
  async #beat(): Promise<void> {
    for (;;) {
      await this.#options.clock.sleep(HEARTBEAT_MS, this.#closed.signal)
      if (this.#live.size + this.#recovering.size > 0) await this.#renewLeases()
    }
  }

  async #renewLeases(): Promise<void> {
    const { store, clock, log } = this.#options
    const heartbeatAt = clock.now()
    const leaseExpiresAt = new Date(heartbeatAt.getTime() + LEASE_MS)
    for (const live of this.#live.values()) live.noteLease({ heartbeatAt, leaseExpiresAt })
    await store
      .renewLeases(this.#processId, heartbeatAt, leaseExpiresAt)
      .catch(error => log.warn('The leases of the jobs could not be renewed', { error }))
  }
}

function endingOf(recovery: Exclude<Recovery, { next: 'run' }>): Ending {
  switch (recovery.next) {
    case 'succeed':
      return { state: 'succeeded', result: recovery.result }
    case 'fail':
      return { state: 'failed', failure: recovery.failure }
    case 'cancel':
      return { state: 'cancelled' }
  }
}

function wordsOf(ending: Ending): string {
  if (ending.state !== 'failed') return ending.state === 'succeeded' ? 'Succeeded' : 'Cancelled'
  return `Failed with ${ending.failure.code}: ${ending.failure.detail}`
}
