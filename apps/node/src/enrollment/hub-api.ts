import type { Agent } from 'node:https'
import { ApiProblem, type Client, ConnectionError, createClient } from '@sendense/client'
import { API_ROOT } from '@sendense/contracts'
import { AppError } from '@sendense/platform'

/** A client of the Hub at this URL. The agent decides which certificate it talks to. */
export function hubApiAt(hubUrl: string, httpsAgent: Agent): Client {
  return createClient({ baseUrl: new URL(API_ROOT, hubUrl).href, httpsAgent })
}

/** Calls the Hub's API; what goes wrong is an `AppError` with the Hub's code. */
export async function callHub<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (error instanceof ApiProblem) throw new AppError(error.problem.code, { detail: error.message })
    if (error instanceof ConnectionError) throw fromConnectionError(error)
    throw error
  }
}

function fromConnectionError(error: ConnectionError): AppError {
  if (error.code === 'hub-certificate-mismatch') return new AppError('hub-certificate-mismatch')
  return new AppError('node-unreachable', { detail: error.message, cause: error })
}
