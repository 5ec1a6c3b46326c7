#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { runCli } from './run-cli.ts'
import { processTerminal } from './terminal.ts'

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string
}
const interrupted = new AbortController()
process.once('SIGINT', () => interrupted.abort())
process.exitCode = await runCli(process.argv.slice(2), {
  terminal: processTerminal,
  version,
  signal: interrupted.signal,
})
