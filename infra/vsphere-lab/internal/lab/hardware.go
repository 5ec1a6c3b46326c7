package lab

import (
	"context"
	"errors"
	"fmt"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/extent"
)

// ErrRefused says that vSphere would not do this in the VM's present state.
var ErrRefused = errors.New("not allowed in the present state of the VM")

// ResizeDisk grows a disk. As with vSphere the VM must have no snapshots.
// Change ids stay valid and the new part counts as unchanged until it is
// written; with resetTracking they die, as after some storage operations.
func (l *Lab) ResizeDisk(ref DiskRef, sizeBytes int64, resetTracking bool) error {
	return l.withDisk(ref, func(ctx *simulator.Context, vm *simulator.VirtualMachine, disk *types.VirtualDisk) error {
		switch {
		case vm.Snapshot != nil:
			return fmt.Errorf("a disk of a VM with snapshots cannot be resized: %w", ErrRefused)
		case sizeBytes < capacityBytes(disk):
			return fmt.Errorf("a disk cannot shrink: %w", ErrRefused)
		case sizeBytes%sectorSize != 0:
			return fmt.Errorf("%d bytes are no whole sectors: %w", sizeBytes, ErrRefused)
		}
		name := backingOf(disk).FileName
		if err := extent.Grow(l.flatPath(vm, name), sizeBytes); err != nil {
			return err
		}
		if err := l.writeDescriptor(vm, name, sizeBytes, ""); err != nil {
			return err
		}
		grown := *disk
		grown.CapacityInBytes, grown.CapacityInKB = sizeBytes, sizeBytes/1024
		changed := map[int32]*types.VirtualDisk{disk.Key: &grown}
		l.setDevices(ctx, vm, replaceDisks(vm.Config.Hardware.Device, changed))
		if resetTracking {
			l.resetTracking(vm)
		}
		return nil
	})
}

// AddDisk gives the VM one more disk on the controller of its first one and
// returns the new device key. DiskSpec.Controller is not used.
func (l *Lab) AddDisk(vmRef string, spec DiskSpec) (int32, error) {
	disk, err := l.nextDisk(vmRef, spec)
	if err != nil {
		return 0, err
	}
	change := &types.VirtualDeviceConfigSpec{
		Operation:     types.VirtualDeviceConfigSpecOperationAdd,
		FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate,
		Device:        disk,
	}
	if err := l.reconfigure(vmRef, change); err != nil {
		return 0, err
	}
	if err := l.prepareVM(vmRef); err != nil {
		return 0, err
	}
	return disk.Key, l.fill(DiskRef{vmRef, disk.Key}, spec)
}

func (l *Lab) nextDisk(vmRef string, spec DiskSpec) (disk *types.VirtualDisk, err error) {
	err = l.withVM(vmRef, func(_ *simulator.Context, vm *simulator.VirtualMachine) error {
		disks := sortedDisks(vm.Config)
		if len(disks) == 0 {
			return fmt.Errorf("the VM has no disk beside which to put one: %w", ErrRefused)
		}
		first := disks[0]
		taken := map[int32]bool{7: true} // A SCSI controller's own unit.
		for _, d := range disks {
			if d.ControllerKey == first.ControllerKey && d.UnitNumber != nil {
				taken[*d.UnitNumber] = true
			}
		}
		unit := int32(0)
		for taken[unit] {
			unit++
		}
		disk = newDisk(spec, first.ControllerKey, unit, first.Key-*first.UnitNumber+unit)
		return nil
	})
	return disk, err
}

// RemoveDisk takes a disk away from the VM and deletes its file, unless a
// snapshot still refers to it.
func (l *Lab) RemoveDisk(ref DiskRef) error {
	change := &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationRemove}
	err := l.withDisk(ref, func(_ *simulator.Context, vm *simulator.VirtualMachine, disk *types.VirtualDisk) error {
		change.Device = disk
		if vm.Snapshot == nil {
			change.FileOperation = types.VirtualDeviceConfigSpecFileOperationDestroy
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.reconfigure(ref.VM, change)
}

// Power switches a VM on or off.
func (l *Lab) Power(vmRef string, on bool) error {
	return l.do(vmRef, func(ctx context.Context, vm *object.VirtualMachine) (*object.Task, error) {
		if on {
			return vm.PowerOn(ctx)
		}
		return vm.PowerOff(ctx)
	})
}

// TakeSnapshot takes a snapshot as a user would, beside the client under test,
// and returns its managed object id.
func (l *Lab) TakeSnapshot(vmRef, name string) (snapshot string, err error) {
	err = l.do(vmRef, func(ctx context.Context, vm *object.VirtualMachine) (*object.Task, error) {
		task, err := vm.CreateSnapshot(ctx, name, "", false, false)
		if err != nil {
			return nil, err
		}
		info, err := task.WaitForResult(ctx)
		if err != nil {
			return nil, err
		}
		snapshot = info.Result.(types.ManagedObjectReference).Value
		return nil, nil
	})
	return snapshot, err
}

func (l *Lab) reconfigure(vmRef string, change *types.VirtualDeviceConfigSpec) error {
	return l.do(vmRef, func(ctx context.Context, vm *object.VirtualMachine) (*object.Task, error) {
		return vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{
			DeviceChange: []types.BaseVirtualDeviceConfigSpec{change},
		})
	})
}

// do starts a task on a VM through the side door and waits for its end.
func (l *Lab) do(vmRef string, start func(context.Context, *object.VirtualMachine) (*object.Task, error)) error {
	ref := types.ManagedObjectReference{Type: "VirtualMachine", Value: vmRef}
	if _, ok := l.registry.Get(ref).(*simulator.VirtualMachine); !ok {
		return fmt.Errorf("VM %q: %w", vmRef, ErrNotFound)
	}
	ctx, client, err := l.client()
	if err != nil {
		return err
	}
	task, err := start(ctx, object.NewVirtualMachine(client, ref))
	if err != nil || task == nil {
		return err
	}
	return task.Wait(ctx)
}
