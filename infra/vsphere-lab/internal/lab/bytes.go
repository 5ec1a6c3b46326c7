package lab

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sys/unix"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/extent"
)

// ErrNotFound says that there is no such VM, disk or snapshot.
var ErrNotFound = errors.New("not found")

// DiskRef names a disk by the VM's managed object id and the device key.
type DiskRef struct {
	VM  string
	Key int32
}

// withVM runs a function with the VM's lock held.
func (l *Lab) withVM(ref string, run func(ctx *simulator.Context, vm *simulator.VirtualMachine) error) error {
	vm, ok := l.registry.Get(types.ManagedObjectReference{Type: "VirtualMachine", Value: ref}).(*simulator.VirtualMachine)
	if !ok {
		return fmt.Errorf("VM %q: %w", ref, ErrNotFound)
	}
	var err error
	ctx := l.lockContext()
	l.registry.WithLock(ctx, vm, func() { err = run(ctx, vm) })
	return err
}

// withDisk runs a function on the current disk of a VM, as the guest sees it.
func (l *Lab) withDisk(ref DiskRef, run func(ctx *simulator.Context, vm *simulator.VirtualMachine, disk *types.VirtualDisk) error) error {
	return l.withVM(ref.VM, func(ctx *simulator.Context, vm *simulator.VirtualMachine) error {
		disk := flatDisks(vm.Config)[ref.Key]
		if disk == nil {
			return fmt.Errorf("disk %d of %s: %w", ref.Key, ref.VM, ErrNotFound)
		}
		return run(ctx, vm, disk)
	})
}

// openFlat opens the file behind a disk, at its full length.
func (l *Lab) openFlat(vm *simulator.VirtualMachine, disk *types.VirtualDisk, flags int) (*os.File, error) {
	path := l.flatPath(vm, backingOf(disk).FileName)
	if err := extent.Grow(path, capacityBytes(disk)); err != nil {
		return nil, err
	}
	return os.OpenFile(path, flags, 0)
}

// Write does what the guest does when it writes: bytes land in the VM's
// current disk and change tracking notes the area.
func (l *Lab) Write(ref DiskRef, offset int64, data io.Reader) (written int64, err error) {
	err = l.withDisk(ref, func(_ *simulator.Context, vm *simulator.VirtualMachine, disk *types.VirtualDisk) error {
		file, err := l.openFlat(vm, disk, os.O_WRONLY)
		if err != nil {
			return err
		}
		defer file.Close()
		room := capacityBytes(disk) - offset
		if offset < 0 || room < 0 {
			return fmt.Errorf("offset %d is not on the disk of %d bytes", offset, capacityBytes(disk))
		}
		written, err = io.Copy(io.NewOffsetWriter(file, offset), io.LimitReader(data, room))
		l.noteWrite(vm, disk, extent.Extent{Offset: offset, Length: written})
		if err != nil {
			return err
		}
		if extra, _ := io.CopyN(io.Discard, data, 1); extra > 0 {
			return fmt.Errorf("the data is longer than the %d bytes to the end of the disk", room)
		}
		return nil
	})
	return written, err
}

// Touch notes an area as written without changing it: a rewrite of equal
// bytes.
func (l *Lab) Touch(ref DiskRef, area extent.Extent) error {
	return l.withDisk(ref, func(_ *simulator.Context, vm *simulator.VirtualMachine, disk *types.VirtualDisk) error {
		l.noteWrite(vm, disk, area)
		return nil
	})
}

// Discard is the guest's TRIM: the area becomes a hole that reads as zeros.
func (l *Lab) Discard(ref DiskRef, area extent.Extent) error {
	return l.withDisk(ref, func(_ *simulator.Context, vm *simulator.VirtualMachine, disk *types.VirtualDisk) error {
		file, err := l.openFlat(vm, disk, os.O_RDWR)
		if err != nil {
			return err
		}
		defer file.Close()
		const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
		if err := unix.Fallocate(int(file.Fd()), mode, area.Offset, area.Length); err != nil {
			return err
		}
		l.noteWrite(vm, disk, area)
		return nil
	})
}

// noteWrite tells change tracking; while a snapshot is being removed a lying
// lab loses the news.
func (l *Lab) noteWrite(vm *simulator.VirtualMachine, disk *types.VirtualDisk, area extent.Extent) {
	if area.Length <= 0 || !trackingEnabled(vm) {
		return
	}
	if !l.loseWrite(diskID{vm.Self.Value, disk.Key}, area) {
		l.trackingOf(vm, disk).recordWrite(area)
	}
}

func (l *Lab) loseWrite(id diskID, area extent.Extent) (lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.lie.DuringConsolidation || l.removing[id.vm] == 0 {
		return false
	}
	l.hidden[id] = append(l.hidden[id], area)
	return true
}

// OpenDisk opens the bytes of a disk for reading: as they are now or, with a
// snapshot's managed object id, as they were then.
func (l *Lab) OpenDisk(ref DiskRef, snapshot string) (*os.File, error) {
	var file *os.File
	err := l.withVM(ref.VM, func(_ *simulator.Context, vm *simulator.VirtualMachine) error {
		config, err := l.config(vm, snapshot)
		if err != nil {
			return err
		}
		disk := flatDisks(config)[ref.Key]
		if disk == nil {
			return fmt.Errorf("disk %d of %s: %w", ref.Key, ref.VM, ErrNotFound)
		}
		file, err = l.openFlat(vm, disk, os.O_RDONLY)
		return err
	})
	return file, err
}

// config is that of the VM or, with an id, of one of its snapshots.
func (l *Lab) config(vm *simulator.VirtualMachine, snapshot string) (*types.VirtualMachineConfigInfo, error) {
	if snapshot == "" {
		return vm.Config, nil
	}
	ref := types.ManagedObjectReference{Type: "VirtualMachineSnapshot", Value: snapshot}
	s, ok := l.registry.Get(ref).(*simulator.VirtualMachineSnapshot)
	if !ok || s.Vm != vm.Self {
		return nil, fmt.Errorf("snapshot %q of %s: %w", snapshot, vm.Self.Value, ErrNotFound)
	}
	return &s.Config, nil
}
