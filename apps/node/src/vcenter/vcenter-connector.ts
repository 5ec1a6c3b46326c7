import { type VcenterAccess, VcenterCredentials } from '@sendense/contracts'
import { AppError } from '@sendense/platform'
import type { CertificateThumbprint, ConnectVsphere, VsphereSession } from '@sendense/vsphere'
import type { DiskSource } from '../disk-reader/disk-reader.ts'
import { callVcenter } from './vcenter-problem.ts'

/** Address of a vCenter and what its certificate must be. */
export type VcenterAddress = Pick<VcenterAccess, 'host' | 'port' | 'thumbprint'>

export interface VcenterConnectorDeps {
  readonly connect: ConnectVsphere
  readonly fetchThumbprint: (host: string, port: number) => Promise<CertificateThumbprint>
  /** Opens a box that was sealed to the key of this Node. */
  readonly unseal: (box: string) => Promise<string>
}

/** Logs in to vCenters with credentials that only this Node can open. They are in memory while they are needed. */
export class VcenterConnector {
  readonly #deps: VcenterConnectorDeps
  /** By address: what a login has succeeded with last. */
  readonly #proven = new Map<string, VcenterAccess>()

  constructor(deps: VcenterConnectorDeps) {
    this.#deps = deps
  }

  /** Opens the credentials and logs in. Dispose of the session to log out. */
  async connect(access: VcenterAccess, signal?: AbortSignal): Promise<VsphereSession> {
    const session = await this.connectWith(access, await this.#credentials(access), signal)
    this.#proven.set(addressOf(access), access)
    return session
  }

  /** What to try today with access that was noted earlier: the password may have been changed since. */
  latestAccess(access: VcenterAccess): VcenterAccess {
    return this.#proven.get(addressOf(access)) ?? access
  }

  /** Logs in with credentials that were given just now. */
  async connectWith(
    { host, port, thumbprint }: VcenterAddress,
    { username, password }: VcenterCredentials,
    signal?: AbortSignal,
  ): Promise<VsphereSession> {
    const session = callVcenter(() =>
      this.#deps.connect({
        host,
        port,
        user: username,
        password,
        ...(thumbprint !== undefined && { thumbprint }),
        ...(signal && { signal }),
      }),
    )
    return session.catch(async error => {
      throw thumbprint === undefined ? await this.#withFingerprint(error, host, port) : error
    })
  }

  /** What the disk reader needs. VDDK pins by SHA-1, so that of the certificate with the pinned SHA-256 is looked up. */
  async readerAccess(access: VcenterAccess): Promise<DiskSource['server']> {
    const { host, port } = access
    const shown = await this.fetchThumbprint(host, port)
    if (!isPinned(shown, access.thumbprint)) {
      const detail = access.thumbprint
        ? `The vCenter shows the certificate ${shown.sha256}, which is not the pinned one`
        : 'Reading disks needs a pinned certificate: add the vCenter again with its fingerprint'
      throw new AppError('vcenter-certificate-mismatch', { detail })
    }
    return { host, port, sha1Thumbprint: shown.sha1, ...(await this.#credentials(access)) }
  }

  /** The fingerprints that a server shows now. */
  async fetchThumbprint(host: string, port: number): Promise<CertificateThumbprint> {
    return callVcenter(() => this.#deps.fetchThumbprint(host, port))
  }

  async #credentials({ sealedCredentials }: VcenterAccess): Promise<VcenterCredentials> {
    try {
      return VcenterCredentials.parse(JSON.parse(await this.#deps.unseal(sealedCredentials)))
    } catch {
      // The cause is left out on purpose: a message of the parser may quote what was in the box.
      const detail = 'The credentials cannot be opened with the key of this Node; enter them again'
      throw new AppError('vcenter-credentials-invalid', { detail })
    }
  }

  /** Nobody can decide whether to trust a certificate without seeing its fingerprint. */
  async #withFingerprint(error: unknown, host: string, port: number): Promise<unknown> {
    if (!(error instanceof AppError) || error.code !== 'vcenter-certificate-mismatch') return error
    const shown = await this.fetchThumbprint(host, port)
    const detail = `${error.message}. ${host}:${port} shows the SHA-256 fingerprint ${shown.sha256}; give it as thumbprint if it is the right one`
    return new AppError(error.code, { detail, cause: error })
  }
}

function addressOf({ host, port }: VcenterAccess): string {
  return `${host}:${port}`
}

function isPinned(shown: CertificateThumbprint, pinned: string | undefined): boolean {
  return pinned !== undefined && [shown.sha256, shown.sha1].some(text => plainHex(text) === plainHex(pinned))
}

/** A fingerprint as the contract writes it: lower-case hex without colons. */
export function plainHex(fingerprint: string): string {
  return fingerprint.replaceAll(':', '').toLowerCase()
}
