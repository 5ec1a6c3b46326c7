import { readTlsFingerprint, type ShownCertificate } from '@sendense/platform'
import { CliError } from './cli-error.ts'

/** Asks which certificate a Hub shows; whether to trust it is decided by its fingerprint afterwards. */
export async function fetchCertificate(url: string): Promise<ShownCertificate> {
  const { hostname, port, protocol } = new URL(url)
  if (protocol !== 'https:') {
    throw new CliError('usage', `The address of the Hub starts with https://, not ${protocol}//.`)
  }
  try {
    return await readTlsFingerprint(hostname, Number(port || 443))
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new CliError('unreachable', `The Hub at ${url} cannot be reached: ${why}`, { cause })
  }
}
