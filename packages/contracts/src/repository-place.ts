import { z } from 'zod'

export const RepositoryType = z
  .enum(['local', 'nfs', 'smb', 's3', 'azure', 'sftp', 'rest'])
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
/** Without TLS the requests are signed and the files encrypted, but anybody on the way can see and hold up both. */
const SignedEndpoint = z
  .url({ protocol: /^https?$/ })
  .max(500)
  .refine(text => !URL.canParse(text) || new URL(text).username + new URL(text).password === '', {
    error: 'must not hold a user name or a password',
  })
/** A password goes along: without TLS it may not leave the machine. */
const PasswordEndpoint = SignedEndpoint.refine(
  text => /^(https:|http:\/\/(localhost|127(\.\d{1,3}){3}|\[::1\])([:/?#]|$))/i.test(text),
  { error: 'must begin with https://, but for a loopback address' },
)
const Prefix = line(500)
  .regex(/^[^/].*[^/]$|^[^/]$/, 'must not begin or end with a slash')
  .optional()
  .meta({ description: 'Folder inside it; the root when absent' })
const CaPem = z
  .string()
  .max(20_000)
  .startsWith('-----BEGIN CERTIFICATE-----')
  .optional()
  .meta({ description: 'Certificate of the authority that signed the one of the server, PEM' })
const Sha256 = z.string().regex(/^[0-9a-f]{64}$/i, 'must be 64 hexadecimal digits')
const MountFolder = line(200)
  .regex(/^(?!.*(^|\/)\.{0,2}(\/|$)).*$/, 'must be a relative path without empty parts, "." and ".."')
  .default('sendense')
  .meta({ description: 'Folder below it that holds the repository; made when absent' })

/** How an object storage protects files against removal. */
export const ObjectLock = z.object({
  mode: z.enum(['governance', 'compliance']).meta({
    description: '`compliance`: nobody can shorten it, the administrator of the storage included',
  }),
  days: z.int().min(1).max(36_500).meta({ description: 'How long each new file is protected' }),
})

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
const s3 = {
  type: z.literal('s3').meta({ description: 'A bucket of an S3-compatible object storage' }),
  endpoint: SignedEndpoint.meta({
    description: 'URL of the service; with `http://` anybody on the way sees which files come and go',
  }),
  region: line(100).meta({ description: 'Region of the bucket' }),
  bucket: line(100)
    .regex(/^[\w.-]+$/, 'must be the name of a bucket')
    .meta({ description: 'Name of the bucket; it must exist' }),
  prefix: Prefix,
  accessKeyId: line(200).meta({ description: 'Access key' }),
  virtualHosted: z
    .boolean()
    .default(false)
    .meta({ description: 'Whether the bucket stands in the host name instead of the path' }),
  caPem: CaPem,
  objectLock: ObjectLock.optional().meta({
    description: 'Protects each new file against removal; the bucket must have been made with object lock',
  }),
}
const azure = {
  type: z.literal('azure').meta({ description: 'A container of Azure Blob Storage' }),
  endpoint: SignedEndpoint.optional().meta({
    description: 'URL of the service; `https://<account>.blob.core.windows.net` when absent',
  }),
  account: line(100)
    .regex(/^[\w-]+$/, 'must be the name of a storage account')
    .meta({ description: 'Name of the storage account' }),
  container: line(63)
    .regex(/^(\$root|[a-z0-9](-?[a-z0-9])+)$/, 'must be the name of a container')
    .meta({ description: 'Name of the container; it must exist' }),
  prefix: Prefix,
  caPem: CaPem,
}
const sftp = {
  type: z.literal('sftp').meta({ description: 'A folder of an SSH server' }),
  host: Host,
  port: z.int().min(1).max(65_535).default(22).meta({ description: 'Port of the SSH server' }),
  username: line(200).meta({ description: 'Account on the server' }),
  path: z.string().startsWith('/').max(1000).meta({ description: 'Absolute folder on the server' }),
  hostKey: line(2000).meta({
    description: 'Public key that the server must show, as in known_hosts: `ssh-ed25519 AAAA…`',
  }),
}
const rest = {
  type: z
    .literal('rest')
    .meta({ description: "A server of restic's REST protocol, such as our append-only one" }),
  url: PasswordEndpoint.meta({
    description: 'URL of the repository on the server; `https://`, and `http://` on a loopback address only',
  }),
  username: line(200).meta({ description: 'Account on the server' }),
  certificateSha256: Sha256.optional().meta({
    description:
      'Fingerprint that the certificate of the server must have; when absent an authority must have signed it',
  }),
}

const password = secret(500, 'Password of the account').regex(
  /^[^\p{Cc}]+$/u,
  'must not hold control characters',
)
const secretAccessKey = secret(500, 'Secret of the access key')
const accountKey = secret(500, 'One of the keys of the storage account, in Base64').regex(
  /^[A-Za-z0-9+/]+={0,2}$/,
  'must be Base64',
)
const privateKeyPem = secret(
  20_000,
  'Private key of the account, PEM or OpenSSH format, without a passphrase',
)
/** Where a repository is to be, with the secrets that it takes to get there. */
export const NewRepositoryPlace = z
  .discriminatedUnion('type', [
    z.object(local),
    z.object(nfs),
    z.object({ ...smb, password }),
    z.object({ ...s3, secretAccessKey }),
    z.object({ ...azure, accountKey }),
    z.object({ ...sftp, privateKeyPem }),
    z.object({ ...rest, password }),
  ])
  .meta({ id: 'NewRepositoryPlace' })
export type NewRepositoryPlace = z.output<typeof NewRepositoryPlace>

/** Where a repository is, without secrets. */
export const RepositoryPlace = z
  .discriminatedUnion('type', [
    z.object(local),
    z.object(nfs),
    z.object(smb),
    z.object(s3),
    z.object(azure),
    z.object(sftp),
    z.object(rest),
  ])
  .meta({ id: 'RepositoryPlace' })
export type RepositoryPlace = z.output<typeof RepositoryPlace>

/** New secrets for the same place, and what the server may have changed about itself. Absent fields stay. */
export const RepositoryCredentials = z
  .discriminatedUnion('type', [
    z.object({ type: smb.type, username: smb.username.optional(), password }),
    z.object({ type: s3.type, accessKeyId: s3.accessKeyId.optional(), secretAccessKey, caPem: CaPem }),
    z.object({ type: azure.type, accountKey, caPem: CaPem }),
    z.object({
      type: sftp.type,
      username: sftp.username.optional(),
      privateKeyPem,
      hostKey: sftp.hostKey.optional(),
    }),
    z.object({
      type: rest.type,
      username: rest.username.optional(),
      password,
      certificateSha256: rest.certificateSha256,
    }),
  ])
  .meta({ id: 'RepositoryCredentials' })
export type RepositoryCredentials = z.output<typeof RepositoryCredentials>
