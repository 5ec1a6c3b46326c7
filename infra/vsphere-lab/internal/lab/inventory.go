package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/extent"
)

// Inventory describes VMs to create beside those of the model.
type Inventory struct {
	VMs []VMSpec `json:"vms"`
}

// VMSpec describes one VM. Names may hold brackets, slashes and any script; a
// name may occur again in another folder.
type VMSpec struct {
	Name           string     `json:"name"`
	Folder         string     `json:"folder"`     // Below the datacenter's VM folder, "a/b"; made if missing.
	PowerState     string     `json:"powerState"` // "on" (the default) or "off".
	Template       bool       `json:"template"`
	Firmware       string     `json:"firmware"` // "bios" (the default) or "efi".
	GuestID        string     `json:"guestId"`
	CPUs           int32      `json:"cpus"`
	MemoryMB       int64      `json:"memoryMb"`
	Annotation     string     `json:"annotation"`
	ChangeTracking bool       `json:"changeTracking"`
	Controllers    []string   `json:"controllers"` // See controllerKinds; one "pvscsi" when empty.
	Disks          []DiskSpec `json:"disks"`
	NICs           []NICSpec  `json:"nics"`
}

// DiskSpec describes one disk.
type DiskSpec struct {
	SizeBytes  int64  `json:"sizeBytes"`
	Controller int    `json:"controller"` // Index into the VM's controllers.
	Unit       *int32 `json:"unit"`       // The next free one when missing.
	Mode       string `json:"mode"`       // "persistent" (the default), "independent_persistent", ...
	Image      string `json:"image"`      // A raw file whose content the disk starts with.
}

// NICSpec describes one network card.
type NICSpec struct {
	Network string `json:"network"` // "VM Network" when empty.
	Type    string `json:"type"`    // "vmxnet3" when empty.
	MAC     string `json:"mac"`
}

// ReadInventory reads a description file; unknown fields are errors.
func ReadInventory(path string) (*Inventory, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	inventory := &Inventory{}
	if err := decoder.Decode(inventory); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return inventory, nil
}

// Create makes the VMs of a description and returns their managed object ids,
// in the same order.
func (l *Lab) Create(inventory *Inventory) ([]string, error) {
	ctx, client, err := l.client()
	if err != nil {
		return nil, err
	}
	creator := &creator{lab: l, client: client, finder: find.NewFinder(client)}
	var refs []string
	for _, spec := range inventory.VMs {
		ref, err := creator.create(ctx, spec)
		if err != nil {
			return nil, fmt.Errorf("VM %q: %w", spec.Name, err)
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

type creator struct {
	lab    *Lab
	client *vim25.Client
	finder *find.Finder
}

func (c *creator) create(ctx context.Context, spec VMSpec) (string, error) {
	datacenter, err := c.finder.DefaultDatacenter(ctx)
	if err != nil {
		return "", err
	}
	c.finder.SetDatacenter(datacenter)
	folder, err := c.folder(ctx, datacenter, spec.Folder)
	if err != nil {
		return "", err
	}
	pools, err := c.finder.ResourcePoolList(ctx, "*/Resources")
	if err != nil {
		return "", err
	}
	config, err := c.config(ctx, spec)
	if err != nil {
		return "", err
	}
	task, err := folder.CreateVM(ctx, *config, pools[0], nil)
	if err != nil {
		return "", err
	}
	info, err := task.WaitForResult(ctx)
	if err != nil {
		return "", err
	}
	ref := info.Result.(types.ManagedObjectReference)
	return ref.Value, c.finish(ctx, object.NewVirtualMachine(c.client, ref), spec)
}

// folder walks down a path from the VM folder and makes what is missing.
func (c *creator) folder(ctx context.Context, datacenter *object.Datacenter, path string) (*object.Folder, error) {
	folders, err := datacenter.Folders(ctx)
	if err != nil {
		return nil, err
	}
	at := folders.VmFolder
	for _, name := range strings.Split(path, "/") {
		if name == "" {
			continue
		}
		if at, err = c.child(ctx, at, name); err != nil {
			return nil, err
		}
	}
	return at, nil
}

func (c *creator) child(ctx context.Context, parent *object.Folder, name string) (*object.Folder, error) {
	children, err := parent.Children(ctx)
	if err != nil {
		return nil, err
	}
	for _, child := range children {
		folder, ok := child.(*object.Folder)
		if !ok {
			continue
		}
		if known, err := folder.ObjectName(ctx); err == nil && known == name {
			return folder, nil
		}
	}
	return parent.CreateFolder(ctx, name)
}

func (c *creator) config(ctx context.Context, spec VMSpec) (*types.VirtualMachineConfigSpec, error) {
	devices, err := spec.devices()
	if err != nil {
		return nil, err
	}
	for i, nic := range spec.NICs {
		card, err := c.card(ctx, nic, int32(i))
		if err != nil {
			return nil, err
		}
		devices = append(devices, card)
	}
	changes, err := devices.ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
	if err != nil {
		return nil, err
	}
	return &types.VirtualMachineConfigSpec{
		Name: plainName.Replace(spec.Name), Annotation: spec.Annotation, Firmware: spec.Firmware,
		GuestId: or(spec.GuestID, string(types.VirtualMachineGuestOsIdentifierOtherLinux64Guest)),
		NumCPUs: spec.CPUs, MemoryMB: spec.MemoryMB, ChangeTrackingEnabled: types.NewBool(spec.ChangeTracking),
		Files:        &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"},
		DeviceChange: changes,
	}, nil
}

// vCenter stores the characters that separate paths escaped. The simulator
// does it too, but then loses the VM's devices: such a VM is made under a plain
// name, which also names its files, and renamed.
var (
	escapedName = strings.NewReplacer("%", "%25", "/", "%2f", `\`, "%5c")
	plainName   = strings.NewReplacer("%", "_", "/", "_", `\`, "_")
)

func (l *Lab) rename(ref, name string) error {
	return l.withVM(ref, func(ctx *simulator.Context, vm *simulator.VirtualMachine) error {
		if vm.Name != name {
			l.registry.Update(ctx, vm, []types.PropertyChange{
				{Name: "name", Val: name}, {Name: "config.name", Val: name}, {Name: "summary.config.name", Val: name},
			})
		}
		return nil
	})
}

// card makes a network card with the key that vCenter would give it.
func (c *creator) card(ctx context.Context, spec NICSpec, index int32) (types.BaseVirtualDevice, error) {
	network, err := c.finder.Network(ctx, or(spec.Network, "VM Network"))
	if err != nil {
		return nil, err
	}
	backing, err := network.EthernetCardBackingInfo(ctx)
	if err != nil {
		return nil, err
	}
	device, err := object.EthernetCardTypes().CreateEthernetCard(or(spec.Type, "vmxnet3"), backing)
	if err != nil {
		return nil, err
	}
	card := device.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard()
	card.Key, card.UnitNumber = firstNICKey+index, types.NewInt32(7+index)
	if spec.MAC != "" {
		card.AddressType, card.MacAddress = string(types.VirtualEthernetCardMacTypeManual), spec.MAC
	}
	return device, nil
}

// finish fills the disks and brings the VM into its state.
func (c *creator) finish(ctx context.Context, vm *object.VirtualMachine, spec VMSpec) error {
	ref := vm.Reference().Value
	if err := c.lab.rename(ref, escapedName.Replace(spec.Name)); err != nil {
		return err
	}
	if err := c.lab.prepareVM(ref); err != nil {
		return err
	}
	keys, err := spec.diskKeys()
	if err != nil {
		return err
	}
	for i, disk := range spec.Disks {
		if err := c.lab.fill(DiskRef{ref, keys[i]}, disk); err != nil {
			return err
		}
	}
	if spec.Template {
		return vm.MarkAsTemplate(ctx)
	}
	if spec.PowerState == "off" {
		return nil
	}
	return c.lab.Power(ref, true)
}

// prepareVM gives all disks of a VM their files.
func (l *Lab) prepareVM(ref string) error {
	return l.withVM(ref, func(_ *simulator.Context, vm *simulator.VirtualMachine) error {
		for _, disk := range sortedDisks(vm.Config) {
			if err := l.prepareFiles(vm, disk); err != nil {
				return err
			}
		}
		l.refreshLayout(vm)
		return nil
	})
}

// fill copies a raw image into a new disk, holes included.
func (l *Lab) fill(ref DiskRef, spec DiskSpec) error {
	if spec.Image == "" {
		return nil
	}
	if size := fileSize(spec.Image); size > spec.SizeBytes {
		return fmt.Errorf("image %s has %d bytes, the disk only %d", spec.Image, size, spec.SizeBytes)
	}
	return l.withDisk(ref, func(_ *simulator.Context, vm *simulator.VirtualMachine, disk *types.VirtualDisk) error {
		path := l.flatPath(vm, backingOf(disk).FileName)
		if err := extent.Clone(spec.Image, path); err != nil {
			return err
		}
		return extent.Grow(path, spec.SizeBytes)
	})
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
