export { mountAuth } from './auth.routes.ts'
export { AuthService } from './auth.service.ts'
export { AuthTypeormStore } from './auth.store.typeorm.ts'
export { firstPassword } from './first-password.ts'
