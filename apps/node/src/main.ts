#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { AppError, createLogger, VERSION } from '@sendense/platform'
import { startNode } from './build-node.ts'
import { loadPairing, savePairing } from './enrollment/hub-pairing.ts'
import { loadOrMakeIdentity } from './enrollment/node-identity.ts'
import { pairWithHub } from './enrollment/pair-with-hub.ts'
import { readPairingCode } from './enrollment/read-pairing-code.ts'
import { readNodeConfig } from './platform/node-config.ts'
import { openStateDirectory } from './platform/state-directory.ts'

const USAGE = `sendense-node ${VERSION}

  sendense-node run                             Run the Node until SIGINT or SIGTERM
  sendense-node pair --hub URL [--name NAME] [--replace]
                                                Pair it with a Hub. The pairing code is read from standard input,
                                                from SENDENSE_PAIRING_CODE, or asked for; never from an argument

Settings come from the environment: see README.md.
`

/** How long clean-up may take after a signal. What is not done by then is done at the next start. */
const STOP_MS = 5 * 60_000

process.exitCode = await main(process.argv.slice(2))

async function main(args: string[]): Promise<number> {
  try {
    const { positionals, values } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        hub: { type: 'string' },
        name: { type: 'string' },
        replace: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
        version: { type: 'boolean', default: false },
      },
    })
    const [command] = positionals
    if (values.help) return say(USAGE)
    if (values.version) return say(`${VERSION}\n`)
    if (command === 'run') return await run()
    if (command === 'pair') return await pair(values)
    process.stderr.write(USAGE)
    return 2
  } catch (error) {
    const code = error instanceof AppError ? ` (${error.code})` : ''
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}${code}\n`)
    return 1
  }
}

async function run(): Promise<number> {
  const config = readNodeConfig(process.env)
  const log = createLogger({ product: 'node', level: config.logLevel })
  const node = await startNode(config, log)
  const signal = await untilSignal()
  log.info('Stopping: captures are cleaned up first', { signal })
  // A second signal, or a vCenter that does not answer, must not keep us for ever.
  setTimeout(() => process.exit(1), STOP_MS).unref()
  process.once('SIGINT', () => process.exit(1)).once('SIGTERM', () => process.exit(1))
  await node[Symbol.asyncDispose]()
  log.info('Stopped')
  return 0
}

async function pair(options: {
  hub?: string | undefined
  name?: string | undefined
  replace: boolean
}): Promise<number> {
  if (options.hub === undefined) throw new AppError('request-invalid', { detail: 'Say which Hub: --hub URL' })
  const config = readNodeConfig(process.env)
  using state = await openStateDirectory(config.stateDirectory)
  const earlier = await loadPairing(state.pairingFile)
  if (earlier && !options.replace) {
    const detail = `This Node is paired with ${earlier.hubUrl} already. Use --replace to pair it anew`
    throw new AppError('conflict', { detail })
  }
  const identity = await loadOrMakeIdentity(state.identityFile)
  const pairingCode = await readPairingCode({
    environment: process.env,
    input: process.stdin,
    output: process.stdout,
  })
  const name = options.name ?? config.name
  const pairing = await pairWithHub({ hubUrl: options.hub, pairingCode, name, identity })
  await savePairing(state.pairingFile, pairing)
  return say(
    `Paired with ${pairing.hubUrl} as Node ${pairing.nodeId} (${pairing.status}).\n` +
      `Key fingerprint: ${identity.fingerprint}\n` +
      'An administrator compares it and approves the Node. Start it with: sendense-node run\n',
  )
}

function say(text: string): number {
  process.stdout.write(text)
  return 0
}

function untilSignal(): Promise<NodeJS.Signals> {
  return new Promise(resolve => {
    process.once('SIGINT', resolve).once('SIGTERM', resolve)
  })
}
