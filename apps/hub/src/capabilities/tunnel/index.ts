export { NodeTunnels } from './node-tunnels.ts'
