import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { LOG_LEVELS } from '@sendense/platform'
import { z } from 'zod'

/** How the Hub is set up. The table in the README is made of these descriptions. */
export interface HubConfig {
  /** Database, keys, certificate and what else the Hub keeps; nobody else may read it. */
  readonly dataDir: string
  /** Address that the API listens on. */
  readonly host: string
  /** Port of the API; 0 for any free one. */
  readonly port: number
  /** Address that the data plane listens on. */
  readonly dataPlaneHost: string
  /** Port of the data plane; 0 for any free one. */
  readonly dataPlanePort: number
  /** Name under which people and Nodes reach the Hub; stands in its certificate. */
  readonly publicHost: string
  /** The only directory that disks are restored to. */
  readonly restoreDir: string
  /** `sqlite:/path/of/file`, or `mysql://user:password@host:port/database` for MySQL and MariaDB. */
  readonly databaseUrl: string
  readonly logLevel: (typeof LOG_LEVELS)[number]
  /** Certificate of one's own (PEM, end entity first) and its key, instead of the one that the Hub makes. */
  readonly certificateFile: string | undefined
  readonly privateKeyFile: string | undefined
}

const ENV_PREFIX = 'SENDENSE_HUB_'
/** Names a JSON file with the same settings; what the environment says wins. */
const CONFIG_FILE_VARIABLE = `${ENV_PREFIX}CONFIG`

/** The configuration is wrong. The message says where; it never shows a value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** Reads `SENDENSE_HUB_DATA_DIR`, `SENDENSE_HUB_PORT` and so on, over the file named by `SENDENSE_HUB_CONFIG`. */
export async function readConfig(env: NodeJS.ProcessEnv): Promise<HubConfig> {
  const fromEnv = settingsOf(env)
  const file = env[CONFIG_FILE_VARIABLE]
  const fromFile = file === undefined ? {} : await readSettings(file)
  const parsed = Settings.safeParse({ ...fromFile, ...fromEnv })
  if (!parsed.success)
    throw new ConfigError(`The configuration is not valid:\n${z.prettifyError(parsed.error)}`)
  return withDefaults(parsed.data)
}

const Port = z.coerce.number().int().min(0).max(65_535)
const Path = z
  .string()
  .min(1)
  .transform(path => resolve(path))
const DatabaseUrl = z
  .string()
  .regex(/^(sqlite|mysql|mariadb):/, 'must begin with sqlite:, mysql: or mariadb:')

const Settings = z
  .strictObject({
    dataDir: Path.default('/var/lib/sendense/hub'),
    host: z.string().min(1).default('0.0.0.0'),
    port: Port.default(8443),
    dataPlaneHost: z.string().min(1).optional(),
    dataPlanePort: Port.default(8444),
    publicHost: z.string().min(1).default(hostname),
    restoreDir: Path.optional(),
    databaseUrl: DatabaseUrl.optional(),
    logLevel: z.enum(LOG_LEVELS).default('info'),
    certificateFile: Path.optional(),
    privateKeyFile: Path.optional(),
  })
  .refine(settings => (settings.certificateFile === undefined) === (settings.privateKeyFile === undefined), {
    error: 'certificateFile and privateKeyFile go together',
  })

function withDefaults(settings: z.output<typeof Settings>): HubConfig {
  const { dataDir, host, certificateFile, privateKeyFile } = settings
  return {
    ...settings,
    certificateFile,
    privateKeyFile,
    dataPlaneHost: settings.dataPlaneHost ?? host,
    restoreDir: settings.restoreDir ?? join(dataDir, 'restores'),
    databaseUrl: settings.databaseUrl ?? `sqlite:${join(dataDir, 'hub.db')}`,
  }
}

/** `SENDENSE_HUB_DATA_PLANE_PORT` is `dataPlanePort`. A name that no setting has is refused like one in the file. */
function settingsOf(env: NodeJS.ProcessEnv): Record<string, unknown> {
  const names = Object.keys(env).filter(name => name.startsWith(ENV_PREFIX) && name !== CONFIG_FILE_VARIABLE)
  return Object.fromEntries(names.map(name => [toSettingName(name), env[name]]))
}

function toSettingName(variable: string): string {
  const words = variable.slice(ENV_PREFIX.length).toLowerCase()
  return words.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

async function readSettings(path: string): Promise<Record<string, unknown>> {
  try {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(await readFile(path, 'utf8')))
  } catch (cause) {
    // The text of a JSON error quotes the file, which may hold the password of the database.
    throw new ConfigError(`The configuration file ${path} cannot be read as a JSON object`, { cause })
  }
}
