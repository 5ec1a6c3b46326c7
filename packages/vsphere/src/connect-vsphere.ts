import { VimClient } from './soap/vim-client.ts'
import type { ConnectVsphere } from './types.ts'
import { VsphereSoapSession } from './vsphere-soap-session.ts'

/** Connects to a vCenter or ESXi and logs in. */
export const connectVsphere: ConnectVsphere = async options =>
  new VsphereSoapSession(await VimClient.connect(options))
