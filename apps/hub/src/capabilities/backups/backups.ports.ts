import type {
  DiskProgress,
  JobId,
  NodeId,
  NodeMethods,
  RepositoryId,
  TunnelCaller,
} from '@sendense/contracts'
import type { RateLimit, Repository } from '@sendense/engine'
import type { JobEnd } from '../jobs/index.ts'

interface OpenRepository {
  repository: Repository
  chunkBytes: number
  name: string
}

/** What backups need of the other capabilities, and no more: the composition root passes the real ones. */
export interface BackupsPorts {
  tunnels: {
    isConnected(nodeId: NodeId): boolean
    call(nodeId: NodeId): TunnelCaller<NodeMethods>
  }
  nodes: {
    /** The limit that all captures of a Node keep together. */
    rateLimitOf(nodeId: NodeId): Promise<RateLimit>
  }
  repositories: {
    /** An open repository, to read. Fails with `not-found`, `repository-disabled`, or why it cannot be opened. */
    open(id: RepositoryId): Promise<OpenRepository>
    /** The same, to store in it: fails also when nothing can be stored there now. */
    openToWrite(id: RepositoryId): Promise<OpenRepository>
    /** The repository, if it is open now. */
    ifOpen(id: RepositoryId): Promise<Repository | undefined>
    /** Until when a restore point is protected. Fails when the repository is not open to be asked. */
    protectedUntil(id: RepositoryId, restorePointId: string): Promise<Date | null>
    /** Measures how much it holds, after that has changed; for whoever does not wait for it. */
    measureSoon(id: RepositoryId): void
  }
  jobs: {
    setStep(jobId: JobId, step: string, state: 'running' | 'succeeded' | 'failed'): Promise<void>
    report(jobId: JobId, disks: readonly DiskProgress[]): void
    /** How a job has ended; undefined while it has not, or when there is none. */
    endOf(jobId: JobId): Promise<JobEnd | undefined>
  }
}
