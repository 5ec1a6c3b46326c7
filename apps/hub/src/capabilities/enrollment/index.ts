import { mountEnrollment } from './enrollment.routes.ts'
import { EnrollmentService, type EnrollmentServiceOptions } from './enrollment.service.ts'

export type { EnrollmentService } from './enrollment.service.ts'
export { EnrollmentTypeormStore } from './enrollment.store.typeorm.ts'
export { mountEnrollment }

/** The capability with its store. */
export function createEnrollment(options: EnrollmentServiceOptions): EnrollmentService {
  return new EnrollmentService(options)
}
