import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { takeStateLock } from './state-lock.ts'

/** Where everything lies that must outlive the process. Only the Node's own user can look into it. */
export interface StateDirectory extends Disposable {
  /** Keys of the Node. Made once, never replaced. */
  readonly identityFile: string
  /** The Hub it is paired with. */
  readonly pairingFile: string
  /** What was made on other systems and must not be left there. */
  readonly ledgerFile: string
  /** Address and token of the Node's own API. */
  readonly apiFile: string
  /** Private directories of running disk readers. */
  readonly runDirectory: string
}

/** Makes the directory if need be and locks it until it is disposed of or the process ends. */
export async function openStateDirectory(path: string): Promise<StateDirectory> {
  const runDirectory = join(path, 'run')
  await mkdir(runDirectory, { recursive: true, mode: 0o700 })
  // The mode above is for new directories only.
  await chmod(path, 0o700)
  const lock = takeStateLock(join(path, 'lock'))
  return {
    identityFile: join(path, 'identity.json'),
    pairingFile: join(path, 'hub.json'),
    ledgerFile: join(path, 'ledger.jsonl'),
    apiFile: join(path, 'api.json'),
    runDirectory,
    [Symbol.dispose]: () => lock[Symbol.dispose](),
  }
}
