import type { RepositoryCredentials } from '@sendense/contracts'
import type { Command } from 'commander'
import type { z } from 'zod'
import { CliError } from '../cli-error.ts'
import { type CommandContext, show } from '../command-context.ts'
import { findRepository } from '../find-repository.ts'
import { readSecret } from '../read-secret.ts'
import { repositoryText } from '../repository-text.ts'

interface CredentialsOptions {
  secretStdin?: boolean
  secretEnv?: string
  accessKey?: string
  username?: string
}

/** `repository credentials`. */
export function addCredentialCommands(repository: Command, context: CommandContext): void {
  repository
    .command('credentials <repository>')
    .description('replace the secret that a repository is reached with; it is tried out first')
    .option('--secret-stdin', 'read the secret from standard input')
    .option('--secret-env <variable>', 'read the secret from the environment')
    .option('--access-key <id>', 's3: new access key')
    .option('--username <name>', 'smb: new account')
    .action(async (wanted: string, options: CredentialsOptions, command: Command) => {
      const { id, type } = await findRepository(context, wanted)
      const credentials = await credentialsOf(context, type, options)
      const input = { params: { repositoryId: id }, body: { credentials } }
      const changed = await (await context.client()).repositories.updateRepository(input)
      show(context, command, changed, () => repositoryText(changed))
    })
}

type Credentials = z.input<typeof RepositoryCredentials>

async function credentialsOf(
  { terminal }: CommandContext,
  type: string,
  { secretEnv: env, secretStdin: stdin, accessKey, username }: CredentialsOptions,
): Promise<Credentials> {
  const secret = (question: string) => readSecret(terminal, question, { env, stdin })
  if (type === 's3') {
    const secretAccessKey = await secret('Secret access key')
    return { type, secretAccessKey, ...(accessKey !== undefined && { accessKeyId: accessKey }) }
  }
  if (type !== 'smb') throw new CliError('usage', `A repository of type ${type} takes no credentials.`)
  const password = await secret('Password of the account')
  return { type, password, ...(username !== undefined && { username }) }
}
