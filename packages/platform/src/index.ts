/** The floor under Hub and Node. It knows no capability. */
export { AppError, type AppErrorOptions } from './app-error.ts'
export { type Clock, systemClock } from './clock.ts'
export { generateSealingKeys, openSealed, sealTo } from './crypto/sealing.ts'
export { generateSigningKeys, type KeyPair, keyFingerprint, sign, verifySignature } from './crypto/signing.ts'
export {
  type Authenticate,
  bindRoutes,
  type Context,
  type Handlers,
  type PublicContext,
} from './http/bind-routes.ts'
export { type Principal, principalOf } from './http/principal.ts'
export { notFoundHandler, problemHandler } from './http/problem-handler.ts'
export { requestIdOf } from './http/request-id.ts'
export { createLogger, LOG_LEVELS, type Logger, type LoggerOptions, type LogLevel } from './logger.ts'
export { newId } from './new-id.ts'
export {
  encodePairingCode,
  newPairingSecret,
  type ParsedPairingCode,
  parsePairingCode,
} from './pairing-code.ts'
export { type Pin, pinnedAgent } from './tls/pinned-agent.ts'
export { readTlsFingerprint, type ShownCertificate } from './tls/read-tls-fingerprint.ts'
export {
  attachTunnel,
  TUNNEL_MESSAGE_BYTES_MAX,
  type Tunnel,
  type TunnelOptions,
} from './tunnel/attach-tunnel.ts'
export { VERSION } from './version.ts'
export { writeFileAtomic } from './write-file-atomic.ts'
