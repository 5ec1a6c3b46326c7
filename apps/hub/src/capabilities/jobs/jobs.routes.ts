import { jobRoutes } from '@sendense/contracts'
import { type Authenticate, bindRoutes } from '@sendense/platform'
import type { Router } from 'express'
import type { JobsService } from './jobs.service.ts'
import { toEventView } from './progress-view.ts'

/** Binds jobs and their progress. */
export function mountJobs(router: Router, jobs: JobsService, authenticate: Authenticate): void {
  bindRoutes(
    router,
    jobRoutes,
    {
      listJobs: ({ query }) => jobs.list(query),
      getProgress: ({ params }) => jobs.get(params.jobId),
      watchProgress: ({ params }, { signal }) => jobs.watch(params.jobId, signal),
      listJobEvents: async ({ params }) => ({ events: (await jobs.events(params.jobId)).map(toEventView) }),
      cancelJob: ({ params }) => jobs.cancel(params.jobId),
    },
    { authenticate },
  )
}
