import { createHmac } from 'node:crypto'
import { makePrivateDir } from './private-dir.ts'
import { freePort, startServerChild } from './server-child.ts'

/** Its key, which stands for `owner-key`, is for tests only. */
const OWNER = { account: 'owner', accountKey: 'b3duZXIta2V5' } as const

/** A server of Azure Blob Storage of others, on a free port and in memory. */
export interface AzureServer extends AsyncDisposable {
  readonly endpoint: string
  readonly account: string
  readonly accountKey: string
  makeContainer(name: string): Promise<void>
}

/** Starts Azurite, which `infra/bootstrap.sh --checks` installs. */
export async function startAzureServer(): Promise<AzureServer> {
  await using building = new AsyncDisposableStack()
  const dir = building.use(await makePrivateDir('azure'))
  const port = await freePort()
  const args = [
    ...['--silent', '--disableTelemetry', '--skipApiVersionCheck', '--inMemoryPersistence'],
    ...['--blobHost', '127.0.0.1', '--blobPort', String(port)],
  ]
  const env = { PATH: process.env.PATH, AZURITE_ACCOUNTS: `${OWNER.account}:${OWNER.accountKey}` }
  await startServerChild(building, { program: 'azurite-blob', args, port, options: { env, cwd: dir.path } })
  const owned = building.move()
  const service = `http://127.0.0.1:${port}`
  return {
    ...{ endpoint: `${service}/${OWNER.account}`, ...OWNER },
    makeContainer: name => makeContainer(service, `/${OWNER.account}/${name}`),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** By a client that is not ours. */
async function makeContainer(service: string, path: string): Promise<void> {
  const headers = { 'x-ms-date': new Date().toUTCString(), 'x-ms-version': '2023-11-03' }
  const signed = [
    ...['PUT', ...Array<string>(11).fill('')],
    ...Object.entries(headers).map(([name, value]) => `${name}:${value}`),
    ...[`/${OWNER.account}${path}`, 'restype:container'],
  ]
  const signature = createHmac('sha256', Buffer.from(OWNER.accountKey, 'base64'))
    .update(signed.join('\n'))
    .digest('base64')
  const answer = await fetch(`${service}${path}?restype=container`, {
    method: 'PUT',
    headers: { ...headers, authorization: `SharedKey ${OWNER.account}:${signature}` },
  })
  if (!answer.ok) throw new Error(`No container was made: ${answer.status} ${await answer.text()}`)
}
