import { execFile } from 'node:child_process'
import { chmod, copyFile, lchown, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { makePrivateDir } from './private-dir.ts'
import { freePort, startServerChild } from './server-child.ts'

/** Who the server is when the tests run as root: as root it would need a user and a folder of the system. */
const NOBODY = 65_534

/** OpenSSH's server with nothing but SFTP: one user, who has one key. */
export interface SshServer extends AsyncDisposable {
  readonly port: number
  readonly username: string
  /** A folder that the user may do everything in; the tests see it too. */
  readonly folder: string
  /** Keys in OpenSSH's formats. `other` ones are keys that fit nobody. */
  readonly hostKey: string
  readonly otherHostKey: string
  readonly privateKeyPem: string
  readonly otherPrivateKeyPem: string
}

/** Starts sshd, which `infra/bootstrap.sh --checks` installs, on a free port and in a private directory. */
export async function startSshServer(): Promise<SshServer> {
  await using building = new AsyncDisposableStack()
  const dir = building.use(await makePrivateDir('ssh'))
  const folder = dir.join('files')
  await mkdir(folder)
  for (const name of ['host-key', 'user-key', 'other-key']) {
    await run('ssh-keygen', '-q', '-N', '', '-t', 'ed25519', '-f', dir.join(name))
  }
  const port = await freePort()
  await writeFile(dir.join('sshd_config'), configurationOf(dir.path, port))
  // Where it is installed, nobody may not be able to run it.
  const program = dir.join('sshd')
  await copyFile(await findSshd(), program)
  await chmod(program, 0o755)
  const isRoot = process.getuid?.() === 0
  if (isRoot) {
    await lchown(dir.path, NOBODY, NOBODY)
    for (const name of await readdir(dir.path)) await lchown(dir.join(name), NOBODY, NOBODY)
  }
  const args = ['-D', '-e', '-f', dir.join('sshd_config')]
  const options = isRoot ? { uid: NOBODY, gid: NOBODY } : {}
  await startServerChild(building, { program, args, port, options })
  const read = async (name: string) => (await readFile(dir.join(name), 'utf8')).trim()
  const username = (await run('id', '-un', ...(isRoot ? [String(NOBODY)] : []))).trim()
  const keys = {
    ...{ hostKey: await read('host-key.pub'), otherHostKey: await read('other-key.pub') },
    ...{ privateKeyPem: `${await read('user-key')}\n`, otherPrivateKeyPem: `${await read('other-key')}\n` },
  }
  const owned = building.move()
  return { ...{ port, username, folder }, ...keys, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** Without PAM, nobody counts as locked where the system makes nobody up. */
function configurationOf(dir: string, port: number): string {
  return [
    `ListenAddress 127.0.0.1:${port}`,
    `HostKey ${dir}/host-key`,
    `AuthorizedKeysFile ${dir}/user-key.pub`,
    ...['PidFile none', 'StrictModes no', 'UsePAM yes', 'PasswordAuthentication no'],
    ...['KbdInteractiveAuthentication no', 'MaxStartups 100', 'Subsystem sftp internal-sftp', ''],
  ].join('\n')
}

async function findSshd(): Promise<string> {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin']) {
    if ((await readdir(folder).catch((): string[] => [])).includes('sshd')) return join(folder, 'sshd')
  }
  throw new Error('sshd is not there; install it with infra/bootstrap.sh --checks')
}

async function run(program: string, ...args: string[]): Promise<string> {
  return (await promisify(execFile)(program, args)).stdout
}
