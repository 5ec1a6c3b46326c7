import type { CaptureOrder, EnrollmentView, NodeStatus } from '@sendense/contracts'
import { captureDisk } from '@sendense/engine'
import { type Clock, type Logger, openSealed, pinnedAgent, systemClock } from '@sendense/platform'
import { connectVsphere, fetchThumbprint } from '@sendense/vsphere'
import { Capture } from './captures/capture.ts'
import { CapturesService } from './captures/captures.service.ts'
import { OutcomeDelivery } from './captures/outcome-delivery.ts'
import { DiscoveryService } from './discovery/discovery.service.ts'
import { NbdkitDiskReaders } from './disk-reader/nbdkit-disk-readers.ts'
import { AccessTokens } from './enrollment/access-tokens.ts'
import { hubApiAt } from './enrollment/hub-api.ts'
import { type HubPairing, loadPairing, savePairing } from './enrollment/hub-pairing.ts'
import { loadOrMakeIdentity, type NodeIdentity } from './enrollment/node-identity.ts'
import { LinkedHubCalls } from './hub-link/hub-calls.ts'
import { HubLink } from './hub-link/hub-link.ts'
import { NO_HUB_LINK } from './hub-link/no-hub-link.ts'
import { nodeMethodHandlers } from './hub-link/node-methods.ts'
import { Ledger } from './ledger/ledger.ts'
import { describeLeftovers } from './ledger/leftovers.ts'
import { Sweeper } from './ledger/sweeper.ts'
import { serveLocalApi } from './local-api/local-api.ts'
import { allowsClearText, type NodeConfig } from './platform/node-config.ts'
import { openStateDirectory } from './platform/state-directory.ts'
import { VcenterConnector } from './vcenter/vcenter-connector.ts'

/** A Node that runs. Disposing of it ends its captures in order and closes everything. */
export interface RunningNode extends AsyncDisposable {
  /** Root of its own API on loopback. */
  readonly apiUrl: string
  readonly enrollment: () => EnrollmentView
}

/** What sealed boxes of vCenter credentials are bound to (docs/design/enrollment.md). */
const CREDENTIALS_CONTEXT = 'sendense vcenter credentials v1'

/**
 * Builds a Node and starts it: state, leftovers of an earlier life, services, its own API, and the link to the Hub
 * at last. The only place that knows all parts.
 */
export async function startNode(config: NodeConfig, log: Logger): Promise<RunningNode> {
  const clock = systemClock
  await using building = new AsyncDisposableStack()
  const state = building.use(await openStateDirectory(config.stateDirectory))
  const identity = await loadOrMakeIdentity(state.identityFile)
  const pairing = await loadPairing(state.pairingFile)
  const ledger = building.use(await Ledger.open(state.ledgerFile))
  warnOf(config, ledger, log)

  const vcenters = new VcenterConnector({
    connect: connectVsphere,
    fetchThumbprint,
    unseal: box => openSealed(identity.sealing.privateKey, box, CREDENTIALS_CONTEXT),
  })
  const link = pairing && linkTo(pairing, identity, { clock, log })
  const hub = new LinkedHubCalls({ link: link ?? NO_HUB_LINK, clock })
  const sweeper = new Sweeper({ ledger, vcenters, runDirectory: state.runDirectory, clock, log })
  const readers = new NbdkitDiskReaders({
    ...{ settings: config.nbdkit, runDirectory: state.runDirectory },
    ...{ ledger, clock, log },
  })
  const target = {
    hub,
    hubHost: pairing ? new URL(pairing.hubUrl).hostname : '',
    hubCertificateSha256: pairing?.certificateSha256 ?? '',
  }
  const makeCapture = (order: CaptureOrder) =>
    new Capture(order, { vcenters, target, ledger, readers, captureDisk, clock, log })
  const delivery = new OutcomeDelivery({ hub, clock, log })
  const captures = new CapturesService({ makeCapture, ledger, sweeper, delivery, log })
  const discovery = new DiscoveryService({ vcenters, log })
  const enrollment = () => viewOf(identity, pairing, link)

  await sweeper.clearRunDirectory()
  building.defer(() => sweeper.stop())
  captures.takeUpEarlier(sweeper.start())
  const problems = () => [...enrollmentProblems(enrollment()), ...describeLeftovers(ledger)]
  const services = { discovery, captures, enrollment, problems, clock }
  const api = building.use(
    await serveLocalApi({ port: config.apiPort, apiFile: state.apiFile, services, log }),
  )
  building.defer(async () => link?.stop())
  building.defer(() => captures.stop())
  link?.start({
    handlers: nodeMethodHandlers({ discovery, captures }),
    captureStates: () => captures.openStates(),
    onStatus: status => void rememberStatus(state.pairingFile, pairing, { status, log }),
    onExpelled: error => void captures.cancelAll(error),
  })
  const parts = building.move()
  return { apiUrl: api.url, enrollment, [Symbol.asyncDispose]: () => parts.disposeAsync() }
}

function linkTo(
  pairing: HubPairing,
  identity: NodeIdentity,
  { clock, log }: { clock: Clock; log: Logger },
): HubLink {
  const { hubUrl, certificatePem, status } = pairing
  const agent = pinnedAgent({ caPem: certificatePem })
  const tokens = new AccessTokens({ hub: hubApiAt(hubUrl, agent), pairing, identity, clock })
  return new HubLink({ hubUrl, agent, tokens, status, clock, log })
}

/** So that a Node that cannot reach its Hub after a restart knows where it stands. */
async function rememberStatus(
  path: string,
  pairing: HubPairing | undefined,
  { status, log }: { status: NodeStatus; log: Logger },
): Promise<void> {
  if (!pairing) return
  await savePairing(path, { ...pairing, status }).catch((error: unknown) =>
    log.error('The status of this Node could not be written down', { error }),
  )
}

function viewOf(
  identity: NodeIdentity,
  pairing: HubPairing | undefined,
  link: HubLink | undefined,
): EnrollmentView {
  return {
    nodeId: pairing?.nodeId ?? null,
    status: link?.status ?? 'not-paired',
    hubUrl: pairing?.hubUrl ?? null,
    keyFingerprint: identity.fingerprint,
    isConnected: link?.isConnected ?? false,
  }
}

function enrollmentProblems({ status, isConnected }: EnrollmentView): string[] {
  if (status === 'not-paired')
    return ['The Node is not paired. Stop it, run: sendense-node pair, and start it again']
  if (status === 'rejected' || status === 'revoked') return [`The Hub has ${status} this Node`]
  if (status !== 'approved') return ['The Node waits until an administrator approves it']
  return isConnected ? [] : ['The Node has no connection to the Hub']
}

function warnOf(config: NodeConfig, { damage }: Ledger, log: Logger): void {
  if (allowsClearText(config)) {
    log.warn('Disks may travel from the ESXi hosts in clear text: the transport nbd is allowed')
  }
  if (damage.tornBytes > 0) log.info('The last line of the ledger was cut off by a crash', { ...damage })
  if (damage.unreadableLines > 0) {
    log.error('The ledger holds lines that cannot be read; something may be left behind', { ...damage })
  }
}
