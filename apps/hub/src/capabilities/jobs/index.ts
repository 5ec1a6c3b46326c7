export type { InterruptedJob, JobDefinition, JobRun, Recovery } from './job-definition.ts'
export { mountJobs } from './jobs.routes.ts'
export { type JobEnd, JobsService } from './jobs.service.ts'
export { JobsTypeormStore } from './jobs.store.typeorm.ts'
