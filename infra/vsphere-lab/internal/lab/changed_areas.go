package lab

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/extent"
)

// fault is a vSphere fault with the text a user would read.
type fault struct {
	message string
	detail  types.BaseMethodFault
}

func invalidArgument(property string) *fault {
	return &fault{
		"A specified parameter was not correct: " + property,
		&types.InvalidArgument{InvalidProperty: property},
	}
}

func fileFault(name string) *fault {
	return &fault{"Error caused by file " + name, &types.FileFault{File: name}}
}

// QueryChangedDiskAreas answers which areas of a disk changed between a change
// id and a snapshot (or now, for a VM that is off). The change id "*" asks for
// all allocated areas.
func (x *extension) QueryChangedDiskAreas(ctx *simulator.Context, req *types.QueryChangedDiskAreas) soap.HasFault {
	body := &methods.QueryChangedDiskAreasBody{}
	vm, ok := x.lab.registry.Get(req.This).(*simulator.VirtualMachine)
	if !ok {
		body.Fault_ = simulator.Fault("", &types.MethodNotFound{Receiver: req.This, Method: "QueryChangedDiskAreas"})
		return body
	}
	ctx.WithLock(vm, func() {
		answer, fault := x.lab.changedAreas(vm, req)
		if fault != nil {
			body.Fault_ = simulator.Fault(fault.message, fault.detail)
			return
		}
		body.Res = &types.QueryChangedDiskAreasResponse{Returnval: *answer}
	})
	return body
}

func (l *Lab) changedAreas(vm *simulator.VirtualMachine, req *types.QueryChangedDiskAreas) (*types.DiskChangeInfo, *fault) {
	config, fault := l.configAt(vm, req.Snapshot)
	if fault != nil {
		return nil, fault
	}
	disk := flatDisks(config)[req.DeviceKey]
	if disk == nil {
		return nil, invalidArgument("deviceKey")
	}
	size := capacityBytes(disk)
	if req.StartOffset < 0 || req.StartOffset >= size {
		return nil, invalidArgument("startOffset")
	}
	areas, fault := l.areasOf(vm, disk, req.Snapshot != nil, req.ChangeId)
	if fault != nil {
		return nil, fault
	}
	return l.page(l.lieAbout(diskID{vm.Self.Value, disk.Key}, areas), req.StartOffset, size), nil
}

// configAt is the configuration in a snapshot or, without one, that of a VM
// that is off.
func (l *Lab) configAt(vm *simulator.VirtualMachine, ref *types.ManagedObjectReference) (*types.VirtualMachineConfigInfo, *fault) {
	if ref == nil {
		if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff {
			return nil, invalidArgument("snapshot")
		}
		return vm.Config, nil
	}
	snapshot, ok := l.registry.Get(*ref).(*simulator.VirtualMachineSnapshot)
	if !ok || snapshot.Vm != vm.Self {
		return nil, &fault{
			"The object '" + ref.String() + "' has already been deleted or has not been completely created",
			&types.ManagedObjectNotFound{Obj: *ref},
		}
	}
	return &snapshot.Config, nil
}

// areasOf decides whether the change id is one of the disk's and compares.
// Without tracking, with an id of another session or one that is too old, the
// answer is FileFault, as from vCenter.
func (l *Lab) areasOf(vm *simulator.VirtualMachine, disk *types.VirtualDisk, frozen bool, changeID string) ([]extent.Extent, *fault) {
	file := l.flatPath(vm, backingOf(disk).FileName)
	refused := fileFault(backingOf(disk).FileName)
	state := l.knownTracking(vm, disk)
	if state == nil {
		return nil, refused
	}
	upto := state.last + 1
	if frozen {
		session, point, ok := splitChangeID(backingOf(disk).ChangeId)
		if !ok || session != state.session || state.points[point] == "" {
			return nil, refused
		}
		upto, file = point, state.points[point]
	}
	areas, err := state.areasSince(changeID, upto, file, capacityBytes(disk))
	switch err {
	case nil:
		return areas, nil
	case errMalformed:
		return nil, invalidArgument("changeId")
	default:
		return nil, refused
	}
}

// page cuts the answer at the limit of areas: its length then ends before the
// first area left out, and the client asks again from there.
func (l *Lab) page(areas []extent.Extent, start, size int64) *types.DiskChangeInfo {
	info := &types.DiskChangeInfo{StartOffset: start, Length: size - start}
	for i, area := range extent.From(areas, start) {
		if i == l.maxAreas {
			info.Length = area.Offset - start
			break
		}
		info.ChangedArea = append(info.ChangedArea, types.DiskChangeExtent{Start: area.Offset, Length: area.Length})
	}
	return info
}
