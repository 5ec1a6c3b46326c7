import { type DiscoveredVm, PowerState, type VcenterId, type Vm } from '@sendense/contracts'
import { type Command, Option } from 'commander'
import { CliError } from '../cli-error.ts'
import { type CommandContext, show } from '../command-context.ts'
import { everyPage, findByName } from '../find-by-name.ts'
import { formatBytes, formatFields, formatTable } from '../format.ts'
import { findVcenter } from './vcenters.ts'

interface DiscoverOptions {
  nameContains?: string
  add?: string[]
  addAll?: boolean
}

interface ListOptions {
  search?: string
  vcenter?: string
  power?: PowerState
}

/** `discover`, `vms list|show`. */
export function addVmCommands(program: Command, context: CommandContext): void {
  program
    .command('discover <vcenter>')
    .description('ask a vCenter for its VMs, and add the ones you name to the inventory')
    .option('--name-contains <text>', 'only VMs whose name contains this')
    .option('--add <vm...>', 'add these VMs, by name or instance UUID')
    .option('--add-all', 'add all that were found, templates left out')
    .action((wanted: string, options: DiscoverOptions, command: Command) =>
      discover(context, command, wanted, options),
    )
  const vms = program.command('vms').description('VMs of the inventory')
  vms
    .command('list')
    .description('list the VMs')
    .option('--search <text>', 'only VMs whose name contains this')
    .option('--vcenter <vcenter>', 'only VMs of this vCenter')
    .addOption(new Option('--power <state>', 'only VMs in this power state').choices(PowerState.options))
    .action(async ({ search, vcenter, power }: ListOptions, command: Command) => {
      const found = await listVms(context, {
        ...(search !== undefined && { search }),
        ...(vcenter !== undefined && { vcenterId: (await findVcenter(context, vcenter)).id }),
        ...(power !== undefined && { powerState: power }),
      })
      show(context, command, found, () => vmTable(found))
    })
  vms
    .command('show <vm>')
    .description('show one VM with its disks')
    .action(async (wanted: string, _options: unknown, command: Command) => {
      const found = await findVm(context, wanted)
      show(context, command, found, () => vmText(found))
    })
}

async function discover(context: CommandContext, command: Command, wanted: string, options: DiscoverOptions) {
  const client = await context.client()
  const { id: vcenterId } = await findVcenter(context, wanted)
  const found = await client.inventory.discoverVms({
    body: { vcenterId, ...(options.nameContains !== undefined && { nameContains: options.nameContains }) },
  })
  const instanceUuids = chosen(found.vms, options)
  if (instanceUuids.length === 0) {
    show(context, command, found, () => discoveryTable(found.vms))
    return
  }
  const result = await client.inventory.addVms({ body: { vcenterId, instanceUuids } })
  show(context, command, result, () => vmTable(result.added))
  for (const failed of result.failed)
    context.terminal.remark(`${failed.instanceUuid}: ${failed.detail} (${failed.code})`)
  if (result.failed.length > 0)
    throw new CliError('failed', `${result.failed.length} VMs could not be added.`)
}

function chosen(found: readonly DiscoveredVm[], { add = [], addAll }: DiscoverOptions): string[] {
  if (addAll) return found.filter(vm => !vm.isTemplate).map(vm => vm.instanceUuid)
  const named = found.map(vm => ({ id: vm.instanceUuid, name: vm.name }))
  return add.map(wanted => findByName('discovered VM', wanted, named).id)
}

/** The VMs of the inventory, by name. */
export async function listVms(
  context: CommandContext,
  filter: { search?: string; vcenterId?: VcenterId; powerState?: PowerState } = {},
): Promise<Vm[]> {
  const client = await context.client()
  return everyPage(page => client.inventory.listVms({ query: { ...page, ...filter } }))
}

/** The VM of the inventory with this id or name. */
export async function findVm(context: CommandContext, wanted: string): Promise<Vm> {
  return findByName('VM', wanted, await listVms(context))
}

function discoveryTable(vms: readonly (DiscoveredVm & { vmId: string | null })[]): string {
  return formatTable(
    ['name', 'folder', 'power', 'disks', 'size', 'added', 'instance uuid'],
    vms.map(vm => [
      vm.name,
      vm.folderPath,
      vm.powerState,
      String(vm.disks.length),
      formatBytes(sizeOf(vm)),
      vm.vmId === null ? 'no' : 'yes',
      vm.instanceUuid,
    ]),
  )
}

function vmTable(vms: readonly Vm[]): string {
  return formatTable(
    ['id', 'name', 'power', 'guest', 'disks', 'size'],
    vms.map(vm => [
      vm.id,
      vm.name,
      vm.powerState,
      vm.guestOs,
      String(vm.disks.length),
      formatBytes(sizeOf(vm)),
    ]),
  )
}

function vmText(vm: Vm): string {
  const fields = formatFields([
    ['Id', vm.id],
    ['Name', vm.name],
    ['Folder', vm.folderPath],
    ['Host', vm.host ?? '-'],
    ['Power', vm.powerState],
    ['Guest', vm.guestOs],
    ['Change tracking', vm.isChangeTracked ? 'on' : 'off'],
  ])
  const disks = formatTable(
    ['disk', 'label', 'size', 'backing', 'not protected because'],
    vm.disks.map(disk => [
      String(disk.key),
      disk.label,
      formatBytes(disk.capacityBytes),
      disk.backing,
      disk.excluded?.title ?? '-',
    ]),
  )
  return `${fields}\n\n${disks}`
}

function sizeOf(vm: DiscoveredVm): number {
  return vm.disks.reduce((sum, disk) => sum + disk.capacityBytes, 0)
}
