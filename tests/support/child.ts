import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

/** How a child process ended. */
export interface ChildEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** Resolves when the child has ended, at once if it has already. */
export async function childEnd(child: ChildProcess): Promise<ChildEnd> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return { code: child.exitCode, signal: child.signalCode }
}

/** Asks the child to end, and kills it if it does not. The handle decides, never a name or a number. */
export async function stopChild(child: ChildProcess, graceMs = 5000): Promise<ChildEnd> {
  child.kill('SIGTERM')
  const patience = new AbortController()
  const late = sleep(graceMs, undefined, { signal: patience.signal }).then(
    () => child.kill('SIGKILL'),
    () => undefined,
  )
  const end = await childEnd(child)
  patience.abort()
  await late
  return end
}

/** The child ends with the stack, or with us. */
export function ownChild(stack: AsyncDisposableStack, child: ChildProcess): void {
  const killWithUs = () => child.kill('SIGKILL')
  process.once('exit', killWithUs)
  stack.defer(async () => {
    await stopChild(child)
    process.off('exit', killWithUs)
  })
}

/** Asks again and again until there is an answer other than undefined; throws after the time limit. */
export async function waitFor<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 20_000,
): Promise<T> {
  const endAt = performance.now() + timeoutMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (performance.now() > endAt) throw new Error(`Waited ${timeoutMs} ms for ${what}, in vain`)
    await sleep(10)
  }
}
