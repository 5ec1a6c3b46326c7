package lab

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/extent"
)

// freeze is what a snapshot does to disks: the current file becomes the
// snapshot's, the VM continues in a new child file, and change tracking marks
// a point. It runs inside the CreateSnapshot task, with the VM's lock held.
func (l *Lab) freeze(ctx *simulator.Context, snapshot *simulator.VirtualMachineSnapshot) {
	vm, ok := l.registry.Get(snapshot.Vm).(*simulator.VirtualMachine)
	if !ok {
		return
	}
	frozen := flatDisks(&snapshot.Config)
	moved := map[int32]*types.VirtualDisk{}
	for key, disk := range flatDisks(vm.Config) {
		if isIndependent(disk) {
			continue // Not part of any snapshot.
		}
		child, err := l.freezeDisk(vm, disk)
		if err != nil {
			l.log.Printf("freeze %s disk %d: %s", vm.Self.Value, key, err)
			continue
		}
		if copied := frozen[key]; copied != nil {
			backingOf(copied).ChangeId = child.ChangeId
		}
		moved[key] = withBacking(disk, child)
	}
	l.setDevices(ctx, vm, replaceDisks(vm.Config.Hardware.Device, moved))
}

// freezeDisk makes the child file and returns the backing of it.
func (l *Lab) freezeDisk(vm *simulator.VirtualMachine, disk *types.VirtualDisk) (*flatBacking, error) {
	parent := *backingOf(disk)
	size := capacityBytes(disk)
	base := l.flatPath(vm, parent.FileName)
	if err := extent.Grow(base, size); err != nil {
		return nil, err
	}
	child := parent
	child.FileName, child.Parent, child.ChangeId = l.childName(vm, parent.FileName), &parent, ""
	if err := extent.Clone(base, l.flatPath(vm, child.FileName)); err != nil {
		return nil, err
	}
	if err := l.writeDescriptor(vm, child.FileName, size, parent.FileName); err != nil {
		return nil, err
	}
	if l.isTracked(vm) {
		id := diskID{vm.Self.Value, disk.Key}
		changeID, err := l.trackingOf(vm, disk).addPoint(l.dir, id, base)
		if err != nil {
			return nil, err
		}
		child.ChangeId = changeID
	}
	return &child, nil
}

// setDevices publishes a new device list, so that property collectors see it,
// and brings the file layout in line.
func (l *Lab) setDevices(ctx *simulator.Context, vm *simulator.VirtualMachine, devices []types.BaseVirtualDevice) {
	l.registry.Update(ctx, vm, []types.PropertyChange{{Name: "config.hardware.device", Val: devices}})
	l.refreshLayout(vm)
}

// consolidate undoes freeze for one snapshot that goes: the child's content
// takes over the file name of the removed link, as a real commit does.
func (l *Lab) consolidate(ctx *simulator.Context, snapshot *simulator.VirtualMachineSnapshot) {
	vm, ok := l.registry.Get(snapshot.Vm).(*simulator.VirtualMachine)
	if !ok || vm.Config == nil {
		return
	}
	others := l.otherSnapshots(snapshot)
	for _, disk := range flatDisks(&snapshot.Config) {
		l.mergeChild(ctx, vm, others, backingOf(disk).FileName)
	}
	l.dropUnused(vm, others, flatDisks(&snapshot.Config))
	if len(others) == 0 {
		l.wakeTracking(vm)
		l.removeSnapshotFiles(vm)
	}
	l.refreshLayout(vm)
}

func (l *Lab) otherSnapshots(snapshot *simulator.VirtualMachineSnapshot) (out []*simulator.VirtualMachineSnapshot) {
	for _, other := range l.snapshotsOf(snapshot.Vm) {
		if other.Self != snapshot.Self {
			out = append(out, other)
		}
	}
	return out
}

func (l *Lab) snapshotsOf(vm types.ManagedObjectReference) (out []*simulator.VirtualMachineSnapshot) {
	for _, object := range l.registry.AllReference("VirtualMachineSnapshot") {
		if s, ok := object.(*simulator.VirtualMachineSnapshot); ok && s.Vm == vm {
			out = append(out, s)
		}
	}
	return out
}

// mergeChild gives the file name of a removed link to its only child. A link
// without children (the end of a branch) is deleted, one with several stays.
func (l *Lab) mergeChild(ctx *simulator.Context, vm *simulator.VirtualMachine, others []*simulator.VirtualMachineSnapshot, gone string) {
	configs := []*types.VirtualMachineConfigInfo{vm.Config}
	for _, other := range others {
		configs = append(configs, &other.Config)
	}
	children := childrenOf(configs, gone)
	if len(children) != 1 {
		return
	}
	child := children[0]
	if err := os.Rename(l.flatPath(vm, child), l.flatPath(vm, gone)); err != nil {
		l.log.Printf("consolidate %s: %s", vm.Self.Value, err)
		return
	}
	_ = os.Remove(l.hostPath(vm, child))
	for _, other := range others {
		other.Config.Hardware.Device = renameLinks(other.Config.Hardware.Device, child, gone)
	}
	l.setDevices(ctx, vm, renameLinks(vm.Config.Hardware.Device, child, gone))
}

// childrenOf lists the files whose parent is the given one.
func childrenOf(configs []*types.VirtualMachineConfigInfo, parent string) (out []string) {
	seen := map[string]bool{}
	for _, config := range configs {
		for _, disk := range flatDisks(config) {
			for link := backingOf(disk); link != nil; link = link.Parent {
				if link.Parent != nil && link.Parent.FileName == parent && !seen[link.FileName] {
					seen[link.FileName] = true
					out = append(out, link.FileName)
				}
			}
		}
	}
	return out
}

func renameLinks(devices []types.BaseVirtualDevice, child, gone string) []types.BaseVirtualDevice {
	changed := map[int32]*types.VirtualDisk{}
	for _, device := range devices {
		disk, ok := device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		if backing, ok := disk.Backing.(*flatBacking); ok {
			if renamed := renameLink(backing, child, gone); renamed != backing {
				changed[disk.Key] = withBacking(disk, renamed)
			}
		}
	}
	return replaceDisks(devices, changed)
}

// renameLink returns the chain with the child in the place of the link that is
// gone, or the same chain when the child is not part of it.
func renameLink(link *flatBacking, child, gone string) *flatBacking {
	if link == nil {
		return nil
	}
	renamed := *link
	if link.FileName == child {
		renamed.FileName = gone
		if link.Parent != nil {
			renamed.Parent = link.Parent.Parent
		}
		return &renamed
	}
	if parent := renameLink(link.Parent, child, gone); parent != link.Parent {
		renamed.Parent = parent
		return &renamed
	}
	return link
}

// removeSnapshotFiles deletes the .vmsn files. vcsim would do it by keys that
// have gone stale, see forgetLayoutKeys.
func (l *Lab) removeSnapshotFiles(vm *simulator.VirtualMachine) {
	dir := filepath.Dir(l.hostPath(vm, vm.Config.Files.VmPathName))
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) == ".vmsn" {
			_ = os.Remove(filepath.Join(dir, entry.Name()))
		}
	}
}

// forgetLayoutKeys keeps vcsim from deleting the wrong files. Its
// RefreshStorageInfo numbers layoutEx.file anew, its RemoveSnapshot then uses
// the old numbers: with four snapshots, removing the first and the second
// deletes the running VM's disk. Without keys it deletes nothing.
func forgetLayoutKeys(vm *simulator.VirtualMachine) {
	if vm.LayoutEx == nil {
		return
	}
	for i := range vm.LayoutEx.Snapshot {
		vm.LayoutEx.Snapshot[i].DataKey, vm.LayoutEx.Snapshot[i].MemoryKey = -1, -1
	}
}

// revert puts the VM's hardware and disks back to those of the snapshot; the
// VM continues in new children of the snapshot's files. vcsim moves only the
// "you are here" marker. Call with the VM's lock held.
func (l *Lab) revert(ctx *simulator.Context, vm *simulator.VirtualMachine, snapshot *simulator.VirtualMachineSnapshot) error {
	l.resetTracking(vm)
	moved := map[int32]*types.VirtualDisk{}
	for key, disk := range flatDisks(&snapshot.Config) {
		if isIndependent(disk) {
			continue
		}
		child, err := l.branch(vm, disk)
		if err != nil {
			return fmt.Errorf("revert disk %d: %w", key, err)
		}
		moved[key] = withBacking(disk, child)
	}
	before := flatDisks(vm.Config)
	l.setDevices(ctx, vm, replaceDisks(snapshot.Config.Hardware.Device, moved))
	l.dropUnused(vm, l.snapshotsOf(vm.Self), before)
	l.refreshLayout(vm)
	return nil
}

// branch makes a new writable child of a snapshot's disk.
func (l *Lab) branch(vm *simulator.VirtualMachine, disk *types.VirtualDisk) (*flatBacking, error) {
	parent := *backingOf(disk)
	child := parent
	child.FileName, child.Parent, child.ChangeId = l.childName(vm, parent.FileName), &parent, ""
	if err := extent.Clone(l.flatPath(vm, parent.FileName), l.flatPath(vm, child.FileName)); err != nil {
		return nil, err
	}
	return &child, l.writeDescriptor(vm, child.FileName, capacityBytes(disk), parent.FileName)
}

// dropUnused removes the files of disks that neither the VM nor one of the
// snapshots refers to any more.
func (l *Lab) dropUnused(vm *simulator.VirtualMachine, snapshots []*simulator.VirtualMachineSnapshot, candidates map[int32]*types.VirtualDisk) {
	used := map[string]bool{}
	mark := func(config *types.VirtualMachineConfigInfo) {
		for _, disk := range flatDisks(config) {
			for link := backingOf(disk); link != nil; link = link.Parent {
				used[link.FileName] = true
			}
		}
	}
	mark(vm.Config)
	for _, snapshot := range snapshots {
		mark(&snapshot.Config)
	}
	for _, disk := range candidates {
		if name := backingOf(disk).FileName; !used[name] {
			_ = os.Remove(l.flatPath(vm, name))
			_ = os.Remove(l.hostPath(vm, name))
		}
	}
}
