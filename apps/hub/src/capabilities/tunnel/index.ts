export { NodeTunnels, type TunnelEvents } from './node-tunnels.ts'
