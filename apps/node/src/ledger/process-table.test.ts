import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, expect, test } from 'vitest'
import { endProcess, findProcessesByArgument, identifyProcess } from './process-table.ts'

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

function start(script: string, marker: string): ChildProcess & { pid: number } {
  const child = spawn('sh', ['-c', script, marker], { stdio: ['ignore', 'pipe', 'ignore'] })
  children.push(child)
  if (child.pid === undefined) throw new Error('sh could not be started')
  return Object.assign(child, { pid: child.pid })
}

test('a process is found by an argument of its own', async () => {
  const marker = `marker-${process.pid}-${Math.random()}`
  const { pid } = start('read x; sleep 60', marker)
  expect(await findProcessesByArgument(marker)).toEqual([await identifyProcess(pid)])
  expect(await findProcessesByArgument(marker.slice(0, -1))).toEqual([])
})

test('a process that ends when it is asked to is ended so', async () => {
  const child = start('trap "exit 3" TERM; echo ready; while :; do sleep 0.05; done', 'x')
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  const identity = await identifyProcess(child.pid)
  const ended = once(child, 'exit')
  expect(identity && (await endProcess(identity))).toBe(true)
  expect(await ended).toEqual([3, null])
})

test('a process that does not listen is killed', async () => {
  const child = start('trap "" TERM; echo ready; while :; do sleep 0.05; done', 'x')
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  const identity = await identifyProcess(child.pid)
  const ended = once(child, 'exit')
  expect(identity && (await endProcess(identity, { graceMs: 100 }))).toBe(true)
  expect(await ended).toEqual([null, 'SIGKILL'])
})

test('a process with the same number but another start time is left alone', async () => {
  const child = start('sleep 60', 'x')
  const identity = await identifyProcess(child.pid)
  expect(await endProcess({ pid: child.pid, startTicks: `${Number(identity?.startTicks) - 1}` })).toBe(true)
  expect(child.exitCode).toBeNull()
  expect(await identifyProcess(child.pid)).toEqual(identity)
})

test('a process that is gone has no identity', async () => {
  const child = start('exit 0', 'x')
  await once(child, 'exit')
  expect(await identifyProcess(child.pid)).toBeUndefined()
})
