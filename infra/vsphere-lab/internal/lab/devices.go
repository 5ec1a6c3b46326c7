package lab

import (
	"fmt"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// firstNICKey is the device key of a VM's first network card.
const firstNICKey = 4000

// controllerKind says how vCenter numbers a kind of controller and its disks.
type controllerKind struct {
	firstKey, firstDiskKey int32 // Of the controller on bus 0, and of its unit 0.
	disksPerBus            int32 // Distance of disk keys between two buses.
	units                  int32
	reservedUnit           int32 // The controller's own unit; -1 if it has none.
	make                   func(types.VirtualController) types.BaseVirtualDevice
}

func scsi(c types.VirtualController) types.VirtualSCSIController {
	return types.VirtualSCSIController{
		VirtualController: c, ScsiCtlrUnitNumber: 7, SharedBus: types.VirtualSCSISharingNoSharing,
	}
}

// controllerKinds are the controllers an inventory may name.
var controllerKinds = map[string]controllerKind{
	"pvscsi": {1000, 2000, 16, 16, 7, func(c types.VirtualController) types.BaseVirtualDevice {
		return &types.ParaVirtualSCSIController{VirtualSCSIController: scsi(c)}
	}},
	"lsilogic": {1000, 2000, 16, 16, 7, func(c types.VirtualController) types.BaseVirtualDevice {
		return &types.VirtualLsiLogicController{VirtualSCSIController: scsi(c)}
	}},
	"lsilogicsas": {1000, 2000, 16, 16, 7, func(c types.VirtualController) types.BaseVirtualDevice {
		return &types.VirtualLsiLogicSASController{VirtualSCSIController: scsi(c)}
	}},
	"nvme": {31000, 32000, 15, 15, -1, func(c types.VirtualController) types.BaseVirtualDevice {
		return &types.VirtualNVMEController{VirtualController: c}
	}},
	"sata": {15000, 16000, 30, 30, -1, func(c types.VirtualController) types.BaseVirtualDevice {
		return &types.VirtualAHCIController{VirtualSATAController: types.VirtualSATAController{VirtualController: c}}
	}},
	// Every VM has its two IDE controllers from the start.
	"ide": {200, 3000, 2, 2, -1, nil},
}

// controllerPlace is one controller of a VM under construction.
type controllerPlace struct {
	kind     controllerKind
	key, bus int32
	taken    map[int32]bool
}

// places numbers the controllers: the first of each family is on bus 0.
func (s VMSpec) places() ([]*controllerPlace, error) {
	names := s.Controllers
	if len(names) == 0 {
		names = []string{"pvscsi"}
	}
	buses := map[int32]int32{}
	var out []*controllerPlace
	for _, name := range names {
		kind, ok := controllerKinds[name]
		if !ok {
			return nil, fmt.Errorf("no controller of kind %q", name)
		}
		bus := buses[kind.firstKey]
		buses[kind.firstKey]++
		out = append(out, &controllerPlace{kind, kind.firstKey + bus, bus, map[int32]bool{kind.reservedUnit: true}})
	}
	return out, nil
}

// take reserves a unit and returns it with the disk's key.
func (p *controllerPlace) take(wanted *int32) (unit, key int32, err error) {
	if wanted != nil {
		unit = *wanted
	} else {
		for p.taken[unit] {
			unit++
		}
	}
	if unit < 0 || unit >= p.kind.units || p.taken[unit] {
		return 0, 0, fmt.Errorf("unit %d of controller %d is taken or does not exist", unit, p.key)
	}
	p.taken[unit] = true
	return unit, p.kind.firstDiskKey + p.bus*p.kind.disksPerBus + unit, nil
}

func (s VMSpec) devices() (object.VirtualDeviceList, error) {
	places, err := s.places()
	if err != nil {
		return nil, err
	}
	var devices object.VirtualDeviceList
	for _, place := range places {
		if place.kind.make != nil {
			controller := types.VirtualController{BusNumber: place.bus}
			controller.Key = place.key
			devices = append(devices, place.kind.make(controller))
		}
	}
	for _, spec := range s.Disks {
		if spec.Controller < 0 || spec.Controller >= len(places) {
			return nil, fmt.Errorf("the VM has no controller %d", spec.Controller)
		}
		place := places[spec.Controller]
		unit, key, err := place.take(spec.Unit)
		if err != nil {
			return nil, err
		}
		devices = append(devices, newDisk(spec, place.key, unit, key))
	}
	return devices, nil
}

func (s VMSpec) diskKeys() (out []int32, err error) {
	devices, err := s.devices()
	for _, device := range devices {
		if disk, ok := device.(*types.VirtualDisk); ok {
			out = append(out, disk.Key)
		}
	}
	return out, err
}

// newDisk leaves the file name open: the simulator then chooses one in the
// VM's own folder. The UUID is random, so that a disk which takes over the
// file name of a removed one is not taken for it.
func newDisk(spec DiskSpec, controller, unit, key int32) *types.VirtualDisk {
	disk := &types.VirtualDisk{CapacityInBytes: spec.SizeBytes, CapacityInKB: spec.SizeBytes / 1024}
	disk.Key, disk.ControllerKey, disk.UnitNumber = key, controller, &unit
	disk.Backing = &flatBacking{
		DiskMode:        or(spec.Mode, string(types.VirtualDiskModePersistent)),
		ThinProvisioned: types.NewBool(true),
		Uuid:            newUUID(),
	}
	return disk
}
