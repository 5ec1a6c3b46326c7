package lab

import (
	"errors"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/extent"
)

// What OpenForVDDK refuses with; the texts are those VDDK gives.
var (
	ErrVMUnknown       = errors.New("The specified VM was not found")
	ErrSnapshotUnknown = errors.New("The specified snapshot was not found")
	ErrFileUnknown     = errors.New("A file was not found")
	ErrLocked          = errors.New("Failed to lock the file")
	ErrReadOnly        = errors.New("A snapshot can only be opened read-only")
	ErrDenied          = errors.New("Insufficient permissions in the host operating system")
)

// VDDKOpen is what a client of VDDK asks for.
type VDDKOpen struct {
	VM       string // Managed object id.
	Snapshot string // Managed object id; empty for the current disk.
	File     string // "[datastore] path/disk.vmdk".
	ReadOnly bool
}

// OpenForVDDK finds the file on this machine that holds the disk's bytes. The
// current disk of a running VM is locked; a snapshot cannot be written.
func (l *Lab) OpenForVDDK(open VDDKOpen) (path string, capacity int64, err error) {
	if l.missing.has(open.privilege()) {
		return "", 0, ErrDenied
	}
	err = l.withVM(open.VM, func(_ *simulator.Context, vm *simulator.VirtualMachine) error {
		config, err := l.config(vm, open.Snapshot)
		switch {
		case err != nil:
			return ErrSnapshotUnknown
		case open.Snapshot != "" && !open.ReadOnly:
			return ErrReadOnly
		case open.Snapshot == "" && vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff:
			return ErrLocked
		}
		for _, disk := range sortedDisks(config) {
			if backingOf(disk).FileName == open.File {
				path, capacity = l.flatPath(vm, open.File), capacityBytes(disk)
				return extent.Grow(path, capacity)
			}
		}
		return ErrFileUnknown
	})
	if errors.Is(err, ErrNotFound) {
		err = ErrVMUnknown
	}
	return path, capacity, err
}

func (o VDDKOpen) privilege() string {
	if o.ReadOnly {
		return privilegeDiskRandomRead
	}
	return privilegeDiskRandomAccess
}
