package lab

import (
	"path"
	"sort"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// DiskState describes one disk; Flat is the file on this machine that holds
// its bytes.
type DiskState struct {
	Key           int32  `json:"key"`
	ControllerKey int32  `json:"controllerKey"`
	UnitNumber    int32  `json:"unitNumber"`
	Label         string `json:"label"`
	UUID          string `json:"uuid"`
	File          string `json:"file"`
	Flat          string `json:"flat"`
	CapacityBytes int64  `json:"capacityBytes"`
	ChangeID      string `json:"changeId"`
	Mode          string `json:"mode"`
}

// SnapshotState describes one snapshot and the disks as they were.
type SnapshotState struct {
	Ref   string      `json:"ref"`
	Name  string      `json:"name"`
	Disks []DiskState `json:"disks"`
}

// VMState describes one VM.
type VMState struct {
	Ref            string          `json:"ref"`
	Name           string          `json:"name"`
	Path           string          `json:"path"`
	PowerState     string          `json:"powerState"`
	Template       bool            `json:"template"`
	ChangeTracking bool            `json:"changeTracking"`
	Disks          []DiskState     `json:"disks"`
	Snapshots      []SnapshotState `json:"snapshots"`
}

// State describes all VMs, in order of their inventory paths.
func (l *Lab) State() []VMState {
	out := []VMState{}
	for _, object := range l.registry.AllReference("VirtualMachine") {
		vm, ok := object.(*simulator.VirtualMachine)
		if !ok {
			continue
		}
		l.registry.WithLock(l.lockContext(), vm, func() { out = append(out, l.stateOf(vm)) })
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Path < out[j].Path })
	return out
}

func (l *Lab) stateOf(vm *simulator.VirtualMachine) VMState {
	state := VMState{
		Ref: vm.Self.Value, Name: vm.Name, Path: l.inventoryPath(vm),
		PowerState: string(vm.Runtime.PowerState), Template: vm.Config.Template,
		ChangeTracking: trackingEnabled(vm), Disks: l.disksOf(vm, vm.Config), Snapshots: []SnapshotState{},
	}
	for _, s := range l.snapshotsOf(vm.Self) {
		state.Snapshots = append(state.Snapshots, SnapshotState{
			Ref: s.Self.Value, Name: snapshotName(vm, s.Self), Disks: l.disksOf(vm, &s.Config),
		})
	}
	sort.Slice(state.Snapshots, func(i, j int) bool { return state.Snapshots[i].Ref < state.Snapshots[j].Ref })
	return state
}

func (l *Lab) disksOf(vm *simulator.VirtualMachine, config *types.VirtualMachineConfigInfo) []DiskState {
	out := []DiskState{}
	for _, disk := range sortedDisks(config) {
		backing := backingOf(disk)
		state := DiskState{
			Key: disk.Key, ControllerKey: disk.ControllerKey, UUID: backing.Uuid, File: backing.FileName,
			Flat: l.flatPath(vm, backing.FileName), CapacityBytes: capacityBytes(disk),
			ChangeID: backing.ChangeId, Mode: backing.DiskMode,
		}
		if disk.UnitNumber != nil {
			state.UnitNumber = *disk.UnitNumber
		}
		if disk.DeviceInfo != nil {
			state.Label = disk.DeviceInfo.GetDescription().Label
		}
		out = append(out, state)
	}
	return out
}

func snapshotName(vm *simulator.VirtualMachine, ref types.ManagedObjectReference) string {
	if vm.Snapshot == nil {
		return ""
	}
	trees := vm.Snapshot.RootSnapshotList
	for len(trees) > 0 {
		tree := trees[0]
		if tree.Snapshot == ref {
			return tree.Name
		}
		trees = append(append([]types.VirtualMachineSnapshotTree(nil), trees[1:]...), tree.ChildSnapshotList...)
	}
	return ""
}

// inventoryPath is "/DC0/vm/folder/name", as govc prints it.
func (l *Lab) inventoryPath(vm *simulator.VirtualMachine) string {
	out := vm.Name
	for parent := vm.Parent; parent != nil; {
		entity, ok := l.registry.Get(*parent).(mo.Entity)
		if !ok || entity.Entity().Parent == nil {
			break // The root folder has no name in paths.
		}
		out = path.Join(entity.Entity().Name, out)
		parent = entity.Entity().Parent
	}
	return "/" + out
}
