import { type CreateRepositoryRequest, NewRepositoryPlace, type RepositoryTest } from '@sendense/contracts'
import { type Command, Option } from 'commander'
import type { z } from 'zod'
import { CliError } from '../cli-error.ts'
import { type CommandContext, show } from '../command-context.ts'
import { formatBytes, formatFields } from '../format.ts'
import { parseChunkSize, parseLimit, parseNumber } from '../parse-size.ts'
import { readFileText } from '../read-file-text.ts'
import { readSecret } from '../read-secret.ts'
import { repositoryText } from '../repository-text.ts'

type Place = CreateRepositoryRequest['place']
/** What a person gives: checked like the Hub does, before any secret is sent. */
type GivenPlace = Record<string, unknown> & { type: Place['type'] }

interface AddOptions {
  existing?: boolean
  passwordStdin?: boolean
  passwordEnv?: string
  secretStdin?: boolean
  secretEnv?: string
  readLimit?: number | null
  writeLimit?: number | null
  quota?: number | null
  reserve?: number | null
  chunkSize?: CreateRepositoryRequest['chunkBytes']
  try?: boolean
}

/** Which secret a kind of place takes, and what a person is asked for. */
const SECRETS: Partial<Record<Place['type'], [field: string, question: string]>> = {
  smb: ['password', 'Password of the account'],
  s3: ['secretAccessKey', 'Secret access key'],
  azure: ['accountKey', 'Key of the storage account'],
  rest: ['password', 'Password of the account'],
}

/** `repository add local|nfs|smb|s3|azure|sftp|rest`. */
export function addAddCommands(repository: Command, context: CommandContext): void {
  const add = repository.command('add').description('make a repository, or add an existing one')
  const define = (
    usage: string,
    description: string,
    toPlace: (args: string[], options: Record<string, string>) => GivenPlace | Promise<GivenPlace>,
  ): Command =>
    withCommonOptions(add.command(usage).description(description)).action(
      async (name: string, ...rest: unknown[]) => {
        const command = rest.at(-1) as Command
        const options = rest.at(-2) as Record<string, string>
        const place = await toPlace(rest.slice(0, -2) as string[], options)
        await addRepository(context, command, { name, place, options: options as AddOptions })
      },
    )
  addFolders(define)
  addObjectStorage(define)
  addServers(define)
}

type Define = (
  usage: string,
  description: string,
  toPlace: (args: string[], options: Record<string, string>) => GivenPlace | Promise<GivenPlace>,
) => Command

function addFolders(define: Define): void {
  define('local <name> <path>', 'in a folder of the Hub', ([path]) => ({ type: 'local', path }))
  define(
    'nfs <name> <server> <export>',
    'on an NFS export, which the Hub mounts',
    ([server, path], options) => ({
      ...{ type: 'nfs', server, exportPath: path, version: options.protocol, folder: options.folder },
    }),
  )
    .addOption(new Option('--protocol <version>', 'version of NFS').choices(['3', '4.0', '4.1', '4.2']))
    .option('--folder <path>', 'folder below the export; "sendense" when absent')
  define(
    'smb <name> <server> <share>',
    'on an SMB share, which the Hub mounts',
    ([server, share], options) => ({
      ...{ type: 'smb', server, share, username: options.username, domain: options.domain },
      ...{ version: options.protocol, folder: options.folder },
    }),
  )
    .requiredOption('--username <name>', 'account on the server')
    .option('--domain <name>', 'domain of the account')
    .addOption(new Option('--protocol <version>', 'version of SMB').choices(['2.1', '3.0', '3.1.1']))
    .option('--folder <path>', 'folder below the share; "sendense" when absent')
}

function addObjectStorage(define: Define): void {
  define('s3 <name>', 'in a bucket of an S3-compatible object storage', async (_args, options) => ({
    ...{ type: 's3', endpoint: options.endpoint, region: options.region, bucket: options.bucket },
    ...{ prefix: options.prefix, accessKeyId: options.accessKey, virtualHosted: options.virtualHosted },
    caPem: await readFileText(options.caFile),
    objectLock: objectLockOf(options),
  }))
    .requiredOption('--endpoint <url>', 'URL of the service')
    .requiredOption('--bucket <name>', 'bucket; it must exist')
    .requiredOption('--access-key <id>', 'access key; its secret is read or asked for')
    .option('--region <name>', 'region of the bucket', 'us-east-1')
    .option('--prefix <path>', 'folder inside the bucket')
    .option('--virtual-hosted', 'the bucket stands in the host name')
    .option('--ca-file <path>', 'certificate of the authority of the server, PEM')
    .addOption(
      new Option('--object-lock <mode>', 'protect each new file').choices(['governance', 'compliance']),
    )
    .option('--object-lock-days <days>', 'for how long', parseNumber)
  define(
    'azure <name> <account> <container>',
    'in a container of Azure Blob Storage',
    async ([account, container], options) => ({
      ...{ type: 'azure', account, container, prefix: options.prefix, endpoint: options.endpoint },
      caPem: await readFileText(options.caFile),
    }),
  )
    .option('--prefix <path>', 'folder inside the container')
    .option('--endpoint <url>', 'URL of the service; that of Azure when absent')
    .option('--ca-file <path>', 'certificate of the authority of the server, PEM')
}

function addServers(define: Define): void {
  define('sftp <name> <host> <path>', 'in a folder of an SSH server', async ([host, path], options) => ({
    ...{ type: 'sftp', host, path, port: options.port, username: options.username, hostKey: options.hostKey },
    privateKeyPem: await readFileText(options.keyFile),
  }))
    .requiredOption('--username <name>', 'account on the server')
    .requiredOption('--key-file <path>', 'private key of the account')
    .requiredOption('--host-key <key>', 'public key of the server, as in known_hosts: "ssh-ed25519 AAAA…"')
    .option('--port <number>', 'port of the SSH server', parseNumber)
  define('rest <name> <url>', "on a server of restic's REST protocol", ([url], options) => ({
    ...{ type: 'rest', url, username: options.username, certificateSha256: options.certificate },
  }))
    .requiredOption('--username <name>', 'account on the server')
    .option('--certificate <sha256>', 'fingerprint that its certificate must have')
}

function withCommonOptions(command: Command): Command {
  return command
    .option('--existing', 'open the repository that is there; its password is read or asked for')
    .option('--password-stdin', 'read the password of the repository from standard input')
    .option('--password-env <variable>', 'read the password of the repository from the environment')
    .option('--secret-stdin', 'read the secret of the place from standard input')
    .option('--secret-env <variable>', 'read the secret of the place from the environment')
    .option('--read-limit <size>', 'bytes a second that are read at most', parseLimit)
    .option('--write-limit <size>', 'bytes a second that are written at most', parseLimit)
    .option('--quota <size>', 'how much it may hold', parseLimit)
    .option('--reserve <size>', 'how much must stay free at its place', parseLimit)
    .option('--chunk-size <size>', 'chunks that disks are cut into; 256KiB when absent', parseChunkSize)
    .option('--try', 'only try the place out; nothing is made')
}

async function addRepository(
  context: CommandContext,
  command: Command,
  { name, place: given, options }: { name: string; place: GivenPlace; options: AddOptions },
): Promise<void> {
  if (options.passwordStdin && options.secretStdin) {
    throw new CliError(
      'usage',
      'Only one secret can come from standard input; take --secret-env for the other.',
    )
  }
  const place = await placeWithSecret(context, given, options)
  const client = await context.client()
  if (options.try) {
    const found = await client.repositories.testRepositoryPlace({ body: { place } })
    show(context, command, found, () => testText(found))
    return
  }
  const password = await passwordOf(context, options)
  const created = await client.repositories.createRepository({
    body: {
      ...{ name, place, existing: options.existing === true, limits: limitsOf(options) },
      ...(password !== undefined && { password }),
      ...(options.chunkSize !== undefined && { chunkBytes: options.chunkSize }),
    },
  })
  show(context, command, created, () =>
    created.password === null
      ? repositoryText(created.repository)
      : `${repositoryText(created.repository)}\n\nPassword: ${created.password}\nKeep it safe: it is shown only now, and with it stock restic opens the repository.`,
  )
}

async function placeWithSecret(
  { terminal }: CommandContext,
  given: GivenPlace,
  { secretEnv, secretStdin }: AddOptions,
): Promise<z.input<typeof NewRepositoryPlace>> {
  const [field, question] = SECRETS[given.type] ?? []
  const complete =
    field === undefined || question === undefined
      ? given
      : { ...given, [field]: await readSecret(terminal, question, { env: secretEnv, stdin: secretStdin }) }
  const parsed = NewRepositoryPlace.safeParse(complete)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new CliError('usage', `The ${issue?.path.join('.')} of the place is not valid: ${issue?.message}.`)
}

async function passwordOf({ terminal }: CommandContext, options: AddOptions): Promise<string | undefined> {
  const { existing, passwordEnv: env, passwordStdin } = options
  if (!existing && !passwordStdin && env === undefined) return undefined
  // Through a pipe comes the secret that nothing else was said about.
  const stdin = passwordStdin === true || (!terminal.isInteractive && !options.secretStdin)
  return readSecret(terminal, 'Password of the repository', { env, stdin })
}

/** The limits that were given, as the API names them. */
export function limitsOf({ readLimit, writeLimit, quota, reserve }: AddOptions) {
  return {
    ...(readLimit !== undefined && { readBytesPerSecondMax: readLimit }),
    ...(writeLimit !== undefined && { writeBytesPerSecondMax: writeLimit }),
    ...(quota !== undefined && { quotaBytes: quota }),
    ...(reserve !== undefined && { reserveBytes: reserve }),
  }
}

function objectLockOf({ objectLock, objectLockDays }: Record<string, string | number>) {
  if (objectLock === undefined && objectLockDays === undefined) return undefined
  if (objectLock === undefined || objectLockDays === undefined) {
    throw new CliError('usage', '--object-lock and --object-lock-days go together.')
  }
  return { mode: objectLock, days: objectLockDays }
}

/** What a place says about itself. */
export function testText(found: z.output<typeof RepositoryTest>): string {
  const { objectLock, totalBytes, freeBytes, clockSkewMs } = found
  return formatFields([
    ['Holds', found.isRepository ? 'a repository' : found.isEmpty ? 'nothing' : 'something else'],
    ...(totalBytes === null || freeBytes === null
      ? []
      : [['Free', `${formatBytes(freeBytes)} of ${formatBytes(totalBytes)}`] as const]),
    ['Answers in', `${Math.round(found.latencyMs)} ms`],
    ...(found.isDurable
      ? []
      : [['Durable', 'no: a power failure of the server may take the last backups; use OpenSSH'] as const]),
    ...(clockSkewMs === null ? [] : [['Clock', `${Math.round(clockSkewMs / 1000)} s ahead`] as const]),
    ...(objectLock === null
      ? []
      : [['Object lock', objectLock.enabled ? 'possible' : 'not possible'] as const]),
  ])
}
