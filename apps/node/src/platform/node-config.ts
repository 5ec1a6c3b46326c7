import { hostname } from 'node:os'
import { LOG_LEVELS } from '@sendense/platform'
import { z } from 'zod'

/**
 * Settings of the Node, from the environment. None of them is a secret: those are in the state directory, or come
 * sealed from the Hub.
 */
const Environment = z.object({
  SENDENSE_NODE_STATE_DIR: z
    .string()
    .startsWith('/', 'must be an absolute path')
    // A unix socket below it must fit into sockaddr_un (unix(7)): 107 bytes.
    .max(80, 'must have at most 80 characters')
    .default('/var/lib/sendense-node'),
  SENDENSE_NODE_NAME: z.string().trim().min(1).max(100).default(hostname()),
  SENDENSE_NODE_API_PORT: z.coerce.number().int().min(0).max(65_535).default(9853),
  SENDENSE_LOG_LEVEL: z.enum(LOG_LEVELS).default('info'),
  SENDENSE_NBDKIT: z.string().min(1).default('nbdkit'),
  SENDENSE_VDDK_PLUGIN: z.string().min(1).default('vddk'),
  SENDENSE_VDDK_LIBDIR: z.string().min(1).default('/usr/lib/vmware-vix-disklib'),
  SENDENSE_VDDK_TRANSPORTS: z
    .string()
    .regex(
      /^(nbdssl|nbd|hotadd|san|file)(:(nbdssl|nbd|hotadd|san|file))*$/,
      'must be transport modes of VDDK',
    )
    .default('nbdssl'),
})

export interface NodeConfig {
  readonly stateDirectory: string
  /** Name that the Node gives itself when it is paired. */
  readonly name: string
  /** Port of its own API on loopback; 0 for any. */
  readonly apiPort: number
  readonly logLevel: (typeof LOG_LEVELS)[number]
  readonly nbdkit: {
    readonly nbdkit: string
    readonly vddkPlugin: string
    readonly vddkLibraryDirectory: string
    /** Clear text (`nbd`) only if asked for. */
    readonly transports: string
  }
}

/** Reads the settings; throws with all that is wrong at once. */
export function readNodeConfig(environment: NodeJS.ProcessEnv): NodeConfig {
  const parsed = Environment.safeParse(environment)
  if (!parsed.success) throw new Error(`The settings are not valid:\n${z.prettifyError(parsed.error)}`)
  const settings = parsed.data
  return {
    stateDirectory: settings.SENDENSE_NODE_STATE_DIR,
    name: settings.SENDENSE_NODE_NAME,
    apiPort: settings.SENDENSE_NODE_API_PORT,
    logLevel: settings.SENDENSE_LOG_LEVEL,
    nbdkit: {
      nbdkit: settings.SENDENSE_NBDKIT,
      vddkPlugin: settings.SENDENSE_VDDK_PLUGIN,
      vddkLibraryDirectory: settings.SENDENSE_VDDK_LIBDIR,
      transports: settings.SENDENSE_VDDK_TRANSPORTS,
    },
  }
}

/** Whether disks may travel from the ESXi host in clear text. */
export function allowsClearText({ nbdkit }: Pick<NodeConfig, 'nbdkit'>): boolean {
  return nbdkit.transports.split(':').includes('nbd')
}
