import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { z } from 'zod'

const BUILD = path.resolve(import.meta.dirname, '../../infra/vsphere-lab/build.sh')

const LabParts = z.object({
  vcsimLab: z.string(),
  govc: z.string(),
  stub: z.string(),
  plugin: z.string(),
  pluginIsFallback: z.boolean(),
})

/** Where the built parts of the vSphere lab lie. */
export type LabParts = z.infer<typeof LabParts>

let parts: Promise<LabParts> | undefined

/** Builds the lab if its sources changed, once per process, and says where its parts are. */
export function labParts(): Promise<LabParts> {
  parts ??= buildLab()
  return parts
}

async function buildLab(): Promise<LabParts> {
  const { stdout, stderr } = await promisify(execFile)(BUILD, { maxBuffer: 16 << 20 })
  // What it did, and the warning that tests run without the real plugin, belong before the reader's eyes.
  process.stderr.write(stderr)
  return LabParts.parse(JSON.parse(await readFile(stdout.trim(), 'utf8')))
}
