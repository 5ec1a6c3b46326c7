import type { Client } from '@sendense/client'
import type { Backup, JobId, Progress, RepositoryId, VcenterId, Vm } from '@sendense/contracts'
import { HubProcess } from './hub-process.ts'
import { type Lab, type LabOptions, startLab } from './lab.ts'
import { NodeProcess } from './node-process.ts'
import { makePrivateDir } from './private-dir.ts'

export interface StageOptions {
  readonly lab?: LabOptions
  /** Settings of the Hub, as environment variables. */
  readonly hub?: Readonly<Record<string, string>>
  /** Settings of the Node, as environment variables. */
  readonly node?: Readonly<Record<string, string>>
  /** 1 MiB when missing. */
  readonly chunkBytes?: 524_288 | 1_048_576
}

export interface BackUpOptions {
  readonly mode?: 'auto' | 'full'
  readonly quiesce?: boolean
  /** The repository of the stage when missing. */
  readonly repositoryId?: RepositoryId
}

/** Everything that a backup needs, real and running: vCenter, Hub, Node, a repository, and an administrator. */
export interface Stage extends AsyncDisposable {
  readonly lab: Lab
  readonly hub: HubProcess
  readonly node: NodeProcess
  readonly admin: Client
  readonly vcenterId: VcenterId
  readonly repository: { readonly id: RepositoryId; readonly path: string; readonly password: string }
  /** Adds the VM of that name to the inventory. */
  addVm(name: string): Promise<Vm>
  /** Backs a VM up and waits for the end, whatever it is. */
  backUp(vm: Vm, options?: BackUpOptions): Promise<Backup>
  /** Backs a VM up; fails when the backup does. */
  backUpWell(vm: Vm, options?: BackUpOptions): Promise<Backup>
  /** Waits for a job to end. */
  finished(jobId: JobId): Promise<Progress>
}

/** Starts the whole product against a new lab, in private directories, on free ports. */
export async function startStage(options: StageOptions = {}): Promise<Stage> {
  await using building = new AsyncDisposableStack()
  const lab = building.use(await startLab(options.lab))
  const hubDir = building.use(await makePrivateDir('hub'))
  const nodeDir = building.use(await makePrivateDir('node'))
  const hub = building.use(await HubProcess.start(hubDir, options.hub))
  const admin = await hub.administrator()
  const node = building.use(await NodeProcess.start(nodeDir, hub, admin, lab, options.node))
  const vcenter = await admin.vcenters.createVcenter({
    body: {
      name: 'lab',
      nodeId: node.id,
      host: lab.host,
      port: lab.port,
      username: lab.user,
      password: lab.password,
      thumbprint: lab.thumbprintSha256,
    },
  })
  const path = hubDir.join('repository')
  const created = await admin.repositories.createRepository({
    body: {
      name: 'main',
      place: { type: 'local', path },
      ...(options.chunkBytes !== undefined && { chunkBytes: options.chunkBytes }),
    },
  })
  const owned = building.move()
  return stageOf({
    ...{ lab, hub, node, admin, vcenterId: vcenter.id },
    repository: { id: created.repository.id, path, password: created.password ?? '' },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  })
}

/** Waits for a job to end. */
export async function finishedJob(admin: Client, jobId: JobId): Promise<Progress> {
  let last: Progress | undefined
  for await (const progress of await admin.jobs.watchProgress({ params: { jobId } })) last = progress
  if (!last) throw new Error(`The stream of job ${jobId} was empty`)
  return last
}

type Parts = Omit<Stage, 'addVm' | 'backUp' | 'backUpWell' | 'finished'>

function stageOf(parts: Parts): Stage {
  const { admin, lab, vcenterId, repository } = parts
  const finished = (jobId: JobId) => finishedJob(admin, jobId)
  const backUp: Stage['backUp'] = async (vm, options = {}) => {
    const body = { vmId: vm.id, repositoryId: repository.id, ...options }
    const { jobId, backupId } = await admin.backups.startBackup({ body })
    await finished(jobId)
    return admin.backups.getBackup({ params: { backupId } })
  }
  return {
    ...parts,
    finished,
    backUp,
    backUpWell: async (vm, options) => {
      const backup = await backUp(vm, options)
      if (backup.status !== 'succeeded')
        throw new Error(`The backup is ${backup.status}: ${JSON.stringify(backup.failure)}`)
      return backup
    },
    addVm: async name => {
      const { ref } = await lab.control.vm(name)
      const { vms } = await admin.inventory.discoverVms({ body: { vcenterId } })
      const instanceUuids = vms.filter(vm => vm.moRef === ref).map(vm => vm.instanceUuid)
      const { added, failed } = await admin.inventory.addVms({ body: { vcenterId, instanceUuids } })
      const [vm] = added
      if (!vm) throw new Error(`${name} was not added: ${JSON.stringify(failed)}`)
      return vm
    },
  }
}
