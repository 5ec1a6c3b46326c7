import type { RepositoryCredentials, repositoryMaintenanceRoutes } from '@sendense/contracts'
import type { Command } from 'commander'
import type { z } from 'zod'
import { CliError } from '../cli-error.ts'
import { type CommandContext, show } from '../command-context.ts'
import { findRepository, findTarget } from '../find-repository.ts'
import { formatInstant, formatTable } from '../format.ts'
import { readFileText } from '../read-file-text.ts'
import { readSecret } from '../read-secret.ts'
import { repositoryText } from '../repository-text.ts'

interface PasswordOptions {
  passwordStdin?: boolean
  passwordEnv?: string
}

interface CredentialsOptions {
  secretStdin?: boolean
  secretEnv?: string
  accessKey?: string
  username?: string
  keyFile?: string
  caFile?: string
  hostKey?: string
  certificate?: string
}

/** `repository keys list|add|change|remove`, `repository credentials`. */
export function addKeyCommands(repository: Command, context: CommandContext): void {
  const keys = repository.command('keys').description('keys that open a repository')
  keys
    .command('list <repository>')
    .description('list the keys of a repository')
    .action(async (wanted: string, _options: unknown, command: Command) => {
      const { params, repositories } = await findTarget(context, wanted)
      const found = await repositories.listRepositoryKeys({ params })
      show(context, command, found, () =>
        formatTable(
          ['id', 'made', 'by', 'used by the Hub'],
          found.keys.map(key => [
            key.id,
            formatInstant(key.createdAt),
            `${key.username}@${key.hostname}`,
            key.isSuperseded ? 'no more' : key.isCurrent ? 'yes' : 'no',
          ]),
        ),
      )
    })
  withPassword(keys.command('add <repository>'))
    .description('add a key, such as a recovery key that is kept on paper')
    .action(async (wanted: string, options: PasswordOptions, command: Command) => {
      const { params, repositories } = await findTarget(context, wanted)
      const body = await passwordBody(context, options)
      const added = await repositories.addRepositoryKey({ params, body })
      show(context, command, added, () => keyText(`Key ${added.keyId} was added.`, added.password))
    })
  withPassword(keys.command('change <repository>'))
    .description('change the password that the Hub opens a repository with; the old one ends')
    .action(async (wanted: string, options: PasswordOptions, command: Command) => {
      const { params, repositories } = await findTarget(context, wanted)
      const body = await passwordBody(context, options)
      const changed = await repositories.changeRepositoryPassword({ params, body })
      show(context, command, changed, () => keyText(changedText(changed), changed.password))
    })
  keys
    .command('remove <repository> <key>')
    .description('remove a key; neither the last one nor the one that the Hub uses')
    .action(async (wanted: string, keyId: string) => {
      const { params, repositories } = await findTarget(context, wanted)
      await repositories.removeRepositoryKey({ params: { ...params, keyId } })
      context.terminal.remark(`Removed key ${keyId}.`)
    })
  addCredentials(repository, context)
}

function addCredentials(repository: Command, context: CommandContext): void {
  repository
    .command('credentials <repository>')
    .description('replace the secret that a repository is reached with; it is tried out first')
    .option('--secret-stdin', 'read the secret from standard input')
    .option('--secret-env <variable>', 'read the secret from the environment')
    .option('--access-key <id>', 's3: new access key')
    .option('--username <name>', 'smb, sftp, rest: new account')
    .option('--key-file <path>', 'sftp: new private key')
    .option('--host-key <key>', 'sftp: new public key of the server')
    .option('--ca-file <path>', 's3, azure: new certificate of the authority of the server, PEM')
    .option('--certificate <sha256>', 'rest: new fingerprint of the certificate')
    .action(async (wanted: string, options: CredentialsOptions, command: Command) => {
      const { id, type } = await findRepository(context, wanted)
      const credentials = await credentialsOf(context, type, options)
      const input = { params: { repositoryId: id }, body: { credentials } }
      const changed = await (await context.client()).repositories.updateRepository(input)
      show(context, command, changed, () => repositoryText(changed))
    })
}

type Credentials = z.input<typeof RepositoryCredentials>
type ChangedPassword = z.output<typeof repositoryMaintenanceRoutes.changeRepositoryPassword.response>

async function credentialsOf(
  { terminal }: CommandContext,
  type: string,
  options: CredentialsOptions,
): Promise<Credentials> {
  const { secretEnv: env, secretStdin: stdin, username, accessKey, hostKey, certificate } = options
  const secret = (question: string) => readSecret(terminal, question, { env, stdin })
  const account = username === undefined ? {} : { username }
  switch (type) {
    case 'smb':
      return { type, ...account, password: await secret('Password of the account') }
    case 's3': {
      const key = accessKey === undefined ? {} : { accessKeyId: accessKey }
      return {
        type,
        ...key,
        caPem: await readFileText(options.caFile),
        secretAccessKey: await secret('Secret access key'),
      }
    }
    case 'azure':
      return {
        type,
        caPem: await readFileText(options.caFile),
        accountKey: await secret('Key of the storage account'),
      }
    case 'sftp': {
      if (options.keyFile === undefined)
        throw new CliError('usage', 'Give the new private key: --key-file <path>.')
      const privateKeyPem = await readFileText(options.keyFile)
      return { type, ...account, privateKeyPem, ...(hostKey !== undefined && { hostKey }) }
    }
    case 'rest': {
      const pin = certificate === undefined ? {} : { certificateSha256: certificate }
      return { type, ...account, password: await secret('Password of the account'), ...pin }
    }
    default:
      throw new CliError('usage', `A repository of type ${type} takes no credentials.`)
  }
}

function withPassword(command: Command): Command {
  return command
    .option('--password-stdin', 'read the password from standard input; one is made up otherwise')
    .option('--password-env <variable>', 'read the password from the environment')
}

async function passwordBody({ terminal }: CommandContext, { passwordStdin, passwordEnv }: PasswordOptions) {
  if (!passwordStdin && passwordEnv === undefined) return {}
  return { password: await readSecret(terminal, 'Password', { env: passwordEnv, stdin: passwordStdin }) }
}

function changedText({ keptKey }: ChangedPassword): string {
  if (keptKey === null) return 'The password was changed.'
  const until = keptKey.protectedUntil === null ? '' : ` until ${formatInstant(keptKey.protectedUntil)}`
  return `The password was changed. The storage protects the old key${until}: the old password opens the repository until a prune after that.`
}

function keyText(done: string, password: string | null): string {
  if (password === null) return done
  return `${done}\n\nPassword: ${password}\nKeep it safe: it is shown only now, and opens the repository without the Hub.`
}
