import { createLogger } from '@sendense/platform'
import { buildHub } from './build-hub.ts'
import { readConfig } from './platform/config.ts'

/** Configuration, build, listen, close. */
async function main(): Promise<void> {
  // What the Hub makes is for the Hub alone: database, keys, repositories and restored disks.
  process.umask(0o077)
  const config = await readConfig(process.env)
  const log = createLogger({ product: 'hub', level: config.logLevel })
  const hub = await buildHub(config, { log, terminal: process.stdout })
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      log.info('The Hub is stopping', { signal })
      stop.abort()
    })
  }
  try {
    log.info('The Hub is listening', { ...(await hub.listen()) })
    await untilAborted(stop.signal)
  } finally {
    await hub.close()
  }
  log.info('The Hub has stopped')
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    // The servers keep the process alive meanwhile.
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`sendense-hub: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exit(1)
  },
)
