import { execFile } from 'node:child_process'
import { userInfo } from 'node:os'
import { promisify } from 'node:util'
import { makePrivateDir } from './private-dir.ts'
import { freePort, startServerChild } from './server-child.ts'

/** A MariaDB of others, on a free port and in a private directory. */
export interface MariaDbServer extends AsyncDisposable {
  /** Of its root, without the name of a database: `mysql://root@127.0.0.1:<port>`. */
  readonly url: string
  /** Makes a database as an administrator would, with a user of its own, and returns where it is. */
  makeDatabase(name: string, password: string): Promise<string>
  /** Stops it as a service manager would; `start` has it at the same port again, with all that was in it. */
  stop(): Promise<void>
  start(): Promise<void>
}

/** What a test writes must outlive a killed Hub, not a power failure of this machine. */
const FAST = [
  '--innodb-flush-log-at-trx-commit=0',
  '--innodb-flush-method=nosync',
  '--innodb-log-file-size=32M',
  '--skip-log-bin',
]

/** Starts MariaDB, which `infra/bootstrap.sh --checks` installs. */
export async function startMariaDb(): Promise<MariaDbServer> {
  await using building = new AsyncDisposableStack()
  const dir = building.use(await makePrivateDir('mariadb'))
  const common = ['--no-defaults', `--datadir=${dir.join('data')}`, `--user=${userInfo().username}`]
  // Only this machine reaches it, and root needs no password there.
  const init = ['--auth-root-authentication-method=normal', '--skip-test-db']
  await promisify(execFile)('mariadb-install-db', [...common, ...init], { maxBuffer: 8 << 20 })
  const port = await freePort()
  const socket = dir.join('socket')
  const where = ['--bind-address=127.0.0.1', `--port=${port}`, `--socket=${socket}`]
  const args = [...common, ...where, `--pid-file=${dir.join('pid')}`, ...FAST]
  const launch = async () => {
    const running = new AsyncDisposableStack()
    await startServerChild(running, { program: 'mariadbd', args, port, options: {} })
    return running
  }
  let running = building.use(await launch())
  const owned = building.move()
  return {
    url: `mysql://root@127.0.0.1:${port}`,
    makeDatabase: async (name, password) => {
      await execute(socket, [
        `CREATE DATABASE ${name}`,
        `CREATE USER ${name}@'%' IDENTIFIED BY '${password}'`,
        `GRANT ALL PRIVILEGES ON ${name}.* TO ${name}@'%'`,
      ])
      return `mysql://${name}:${encodeURIComponent(password)}@127.0.0.1:${port}/${name}`
    },
    stop: () => running.disposeAsync(),
    start: async () => {
      running = owned.use(await launch())
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** By a client that is not ours. Passwords do not go on its command line. */
async function execute(socket: string, statements: readonly string[]): Promise<void> {
  const running = promisify(execFile)('mariadb', ['--no-defaults', `--socket=${socket}`, '--user=root'])
  running.child.stdin?.end(statements.map(one => `${one};\n`).join(''))
  await running
}
