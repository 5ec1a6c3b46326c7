import { z } from 'zod'

export const RepositoryType = z
  .enum(['local', 'nfs', 'smb'])
  .meta({ id: 'RepositoryType', description: 'What kind of place holds the repository' })
export type RepositoryType = z.output<typeof RepositoryType>

/** One line of text without control characters: it may become a line of a file or an option of `mount`. */
const line = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .regex(/^[^\p{Cc}]+$/u, 'must not hold control characters')
/** Taken and never given: no answer, log or URL holds it. */
const secret = (max: number, description: string) =>
  z.string().min(1).max(max).meta({ description, writeOnly: true })

const Host = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[\w.:[\]%-]+$/, 'must be a host name or an address')
  .meta({ description: 'Name or address of the server' })
const MountFolder = line(200)
  .regex(/^(?!.*(^|\/)\.{0,2}(\/|$)).*$/, 'must be a relative path without empty parts, "." and ".."')
  .default('sendense')
  .meta({ description: 'Folder below it that holds the repository; made when absent' })

const local = {
  type: z.literal('local').meta({ description: 'A folder of the Hub' }),
  path: z.string().startsWith('/').max(1000).meta({ description: 'Absolute folder on the Hub' }),
}
const nfs = {
  type: z.literal('nfs').meta({ description: 'An NFS export, mounted by the Hub' }),
  server: Host,
  exportPath: line(500).startsWith('/').meta({ description: 'Path that the server exports' }),
  version: z.enum(['3', '4.0', '4.1', '4.2']).default('4.1').meta({ description: 'Version of the protocol' }),
  folder: MountFolder,
}
const smb = {
  type: z.literal('smb').meta({ description: 'An SMB share, mounted by the Hub' }),
  server: Host,
  share: line(80)
    .regex(/^[^/\\,]+$/, 'must be the name of a share')
    .meta({ description: 'Name of the share' }),
  username: line(200).meta({ description: 'Account on the server' }),
  domain: line(200).optional().meta({ description: 'Domain of the account' }),
  version: z.enum(['2.1', '3.0', '3.1.1']).default('3.1.1').meta({ description: 'Version of the protocol' }),
  folder: MountFolder,
}
const password = secret(500, 'Password of the account').regex(
  /^[^\p{Cc}]+$/u,
  'must not hold control characters',
)
/** Where a repository is to be, with the secrets that it takes to get there. */
export const NewRepositoryPlace = z
  .discriminatedUnion('type', [z.object(local), z.object(nfs), z.object({ ...smb, password })])
  .meta({ id: 'NewRepositoryPlace' })
export type NewRepositoryPlace = z.output<typeof NewRepositoryPlace>

/** Where a repository is, without secrets. */
export const RepositoryPlace = z
  .discriminatedUnion('type', [z.object(local), z.object(nfs), z.object(smb)])
  .meta({ id: 'RepositoryPlace' })
export type RepositoryPlace = z.output<typeof RepositoryPlace>

/** New secrets for the same place, and what the server may have changed about itself. Absent fields stay. */
export const RepositoryCredentials = z
  .discriminatedUnion('type', [z.object({ type: smb.type, username: smb.username.optional(), password })])
  .meta({ id: 'RepositoryCredentials' })
export type RepositoryCredentials = z.output<typeof RepositoryCredentials>
