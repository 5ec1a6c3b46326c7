import { callNative, EngineError } from './engine-error.ts'
import { loadNativeModule, type NativeRateLimit } from './native-module.ts'
import type { RateLimit } from './types.ts'

/** Makes a limit that any number of captures share; `null` is no limit, until `setRate` says otherwise. */
export async function createRateLimit(bytesPerSecond: number | null): Promise<RateLimit> {
  const native = await callNative(async () => loadNativeModule().createRateLimit(bytesPerSecond))
  const rateLimit: RateLimit = { setRate: rate => callNative(async () => native.setRate(rate)) }
  NATIVE_OF.set(rateLimit, native)
  return rateLimit
}

/** The native limit behind a `RateLimit`; only one made by `createRateLimit` has it. */
export function nativeRateLimit(rateLimit: RateLimit): NativeRateLimit {
  const native = NATIVE_OF.get(rateLimit)
  if (!native) throw new EngineError('request-invalid', 'A rate limit must come from createRateLimit()')
  return native
}

const NATIVE_OF = new WeakMap<RateLimit, NativeRateLimit>()
