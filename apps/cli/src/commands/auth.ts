import { readFile } from 'node:fs/promises'
import { createClient } from '@sendense/client'
import { API_ROOT } from '@sendense/contracts'
import { pinnedAgent } from '@sendense/platform'
import type { Command } from 'commander'
import { CliError } from '../cli-error.ts'
import { type CommandContext, show } from '../command-context.ts'
import { formatFields } from '../format.ts'
import { fetchCertificate } from '../hub-certificate.ts'
import { readSession, removeSession, writeSession } from '../session-file.ts'
import type { Terminal } from '../terminal.ts'

interface LoginOptions {
  server?: string
  hubFile?: string
  username: string
  fingerprint?: string
  passwordStdin?: boolean
}

/** `login`, `logout`, `password`, `whoami`. */
export function addAuthCommands(program: Command, context: CommandContext): void {
  program
    .command('login')
    .description('log in to a Hub and remember the session')
    .option('--server <url>', 'address of the Hub, such as https://backup.example:8443')
    .option('--hub-file <path>', "the Hub's hub.json, on the same machine: address and fingerprint in one")
    .option('--username <name>', 'account', 'admin')
    .option('--fingerprint <sha256>', 'fingerprint that the certificate of the Hub must have')
    .option('--password-stdin', 'read the password from standard input')
    .action((options: LoginOptions, command: Command) => login(context, command, options))
  program
    .command('logout')
    .description('end the session')
    .action(async () => {
      await (await context.client()).auth.logout()
      await removeSession()
      context.terminal.remark('Logged out.')
    })
  program
    .command('password')
    .description('change the own password')
    .option('--stdin', 'read the old and the new password from standard input, one a line')
    .action(({ stdin }: { stdin?: boolean }) => changePassword(context, stdin === true))
  program
    .command('whoami')
    .description('show the account of the session')
    .action(async (_options: unknown, command: Command) => {
      const account = await (await context.client()).auth.getAccount()
      show(context, command, account, () => `${account.username} (${account.role})`)
    })
}

async function login(context: CommandContext, command: Command, options: LoginOptions): Promise<void> {
  const { url, fingerprint } = await findHub(options)
  const certificate = await fetchCertificate(url)
  if (fingerprint !== certificate.sha256)
    await confirmCertificate(context.terminal, fingerprint, certificate.sha256)
  const password = options.passwordStdin
    ? await context.terminal.readAll()
    : await context.terminal.askSecret(`Password of ${options.username}: `)
  const client = createClient({
    baseUrl: new URL(API_ROOT, url).href,
    httpsAgent: pinnedAgent({ caPem: certificate.pem }),
  })
  const { token, expiresAt, account } = await client.auth.login({
    body: { username: options.username, password },
  })
  await writeSession({ url, certificatePem: certificate.pem, token, expiresAt, username: account.username })
  show(context, command, { url, account, expiresAt }, () =>
    formatFields([
      ['Hub', url],
      ['Account', `${account.username} (${account.role})`],
      ['Until', expiresAt],
      ...(account.mustChangePassword
        ? [['Next', 'change the one-time password: sendense password'] as const]
        : []),
    ]),
  )
}

async function findHub(options: LoginOptions): Promise<{ url: string; fingerprint: string | undefined }> {
  if (options.hubFile) {
    const hub = JSON.parse(await readFile(options.hubFile, 'utf8')) as {
      url: string
      certificateSha256: string
    }
    return { url: hub.url, fingerprint: hub.certificateSha256 }
  }
  if (!options.server)
    throw new CliError('usage', 'Give the address of the Hub: --server <url> (or --hub-file).')
  return { url: options.server, fingerprint: options.fingerprint?.replaceAll(':', '').toLowerCase() }
}

async function confirmCertificate(
  terminal: Terminal,
  wanted: string | undefined,
  shown: string,
): Promise<void> {
  if (wanted !== undefined) {
    throw new CliError(
      'unreachable',
      `The Hub shows a certificate with the fingerprint ${shown}, not ${wanted}.`,
    )
  }
  if (!terminal.isInteractive) {
    throw new CliError('usage', `Say which certificate to trust: --fingerprint ${shown} (compare it first).`)
  }
  const answer = await terminal.ask(
    `The certificate of the Hub has the fingerprint\n  ${shown}\nTrust it? [y/N] `,
  )
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError('unreachable', 'The certificate was not trusted.')
}

async function changePassword(context: CommandContext, fromStdin: boolean): Promise<void> {
  const { terminal } = context
  const session = await readSession()
  const [currentPassword = '', newPassword = ''] = fromStdin
    ? (await terminal.readAll()).split('\n')
    : [await terminal.askSecret('Current password: '), await askNewPassword(terminal)]
  await (await context.client()).auth.changePassword({ body: { currentPassword, newPassword } })
  terminal.remark(`The password of ${session.username} is changed.`)
}

async function askNewPassword(terminal: Terminal): Promise<string> {
  const once = await terminal.askSecret('New password (12 characters or more): ')
  const twice = await terminal.askSecret('The same again: ')
  if (once !== twice) throw new CliError('usage', 'The two passwords differ.')
  return once
}
