import { type SpawnOptions, spawn } from 'node:child_process'
import { connect, createServer } from 'node:net'
import { ownChild, waitFor } from './child.ts'

/** A port of 127.0.0.1 that is free now, for servers that cannot choose one themselves and tell which. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('The system gave no port')
  return address.port
}

/** Starts a program of others, waits until it listens on the port, and ends it with the stack, or with us. */
export async function startServerChild(
  stack: AsyncDisposableStack,
  { program, args, port, options }: { program: string; args: string[]; port: number; options: SpawnOptions },
): Promise<void> {
  const child = spawn(program, args, { ...options, stdio: 'ignore' })
  ownChild(stack, child)
  let failure: Error | undefined
  child.once('error', error => {
    failure = new Error(`${program} does not start; install it with infra/bootstrap.sh --checks`, {
      cause: error,
    })
  })
  child.once('exit', code => {
    failure ??= new Error(`${program} ended with ${code}`)
  })
  await waitFor(`${program} to listen`, () => {
    if (failure) throw failure
    return listens(port)
  })
}

function listens(port: number): Promise<true | undefined> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(undefined))
  })
}
