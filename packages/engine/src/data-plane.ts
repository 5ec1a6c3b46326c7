import { callNative } from './engine-error.ts'
import { loadNativeModule, type NativeDataPlane } from './native-module.ts'
import type { DataPlane, DataPlaneOptions } from './types.ts'

/** Starts listening; TLS 1.3 only. */
export async function listenDataPlane(options: DataPlaneOptions): Promise<DataPlane> {
  const native = await callNative(() => loadNativeModule().listenDataPlane({ ...options }))
  const dataPlane: DataPlane = {
    port: native.port,
    certificateSha256: native.certificateSha256,
    close: () => callNative(() => native.close()),
    [Symbol.asyncDispose]: () => callNative(() => native.close()),
  }
  NATIVE_OF.set(dataPlane, native)
  return dataPlane
}

/** The native listener behind a `DataPlane`; only one made by `listenDataPlane` has it. */
export function nativeDataPlane(dataPlane: DataPlane): NativeDataPlane | undefined {
  return NATIVE_OF.get(dataPlane)
}

const NATIVE_OF = new WeakMap<DataPlane, NativeDataPlane>()
