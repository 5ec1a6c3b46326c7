package lab

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/extent"
)

// sectorSize is the unit of capacities in VMDK descriptors.
const sectorSize = 512

type flatBacking = types.VirtualDiskFlatVer2BackingInfo

// flatDisks returns the disks that lie in flat files, by device key.
func flatDisks(config *types.VirtualMachineConfigInfo) map[int32]*types.VirtualDisk {
	out := map[int32]*types.VirtualDisk{}
	for _, device := range config.Hardware.Device {
		if disk, ok := device.(*types.VirtualDisk); ok {
			if _, ok := disk.Backing.(*flatBacking); ok {
				out[disk.Key] = disk
			}
		}
	}
	return out
}

func sortedDisks(config *types.VirtualMachineConfigInfo) (out []*types.VirtualDisk) {
	for _, disk := range flatDisks(config) {
		out = append(out, disk)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}

// backingOf must only be called for disks that flatDisks returned.
func backingOf(disk *types.VirtualDisk) *flatBacking { return disk.Backing.(*flatBacking) }

func capacityBytes(disk *types.VirtualDisk) int64 {
	if disk.CapacityInBytes > 0 {
		return disk.CapacityInBytes
	}
	return disk.CapacityInKB * 1024
}

func isIndependent(disk *types.VirtualDisk) bool {
	return strings.HasPrefix(backingOf(disk).DiskMode, "independent")
}

// withBacking returns a copy of the disk that lies elsewhere. Devices are
// replaced, never edited: snapshots and running readers share them.
func withBacking(disk *types.VirtualDisk, backing *flatBacking) *types.VirtualDisk {
	moved := *disk
	moved.Backing = backing
	return &moved
}

// replaceDisks returns the device list with some disks exchanged, by key.
func replaceDisks(devices []types.BaseVirtualDevice, changed map[int32]*types.VirtualDisk) []types.BaseVirtualDevice {
	out := make([]types.BaseVirtualDevice, len(devices))
	for i, device := range devices {
		out[i] = device
		if disk, ok := changed[device.GetVirtualDevice().Key]; ok {
			out[i] = disk
		}
	}
	return out
}

// hostPath resolves "[datastore] a/b.vmdk" to the file on this machine.
func (l *Lab) hostPath(vm *simulator.VirtualMachine, name string) string {
	var path object.DatastorePath
	path.FromString(name)
	for _, ref := range vm.Datastore {
		if ds, ok := l.registry.Get(ref).(*simulator.Datastore); ok && ds.Name == path.Datastore {
			return filepath.Join(ds.Summary.Url, path.Path)
		}
	}
	return ""
}

// flatPath is the file that holds the bytes behind a descriptor.
func (l *Lab) flatPath(vm *simulator.VirtualMachine, name string) string {
	return flatName(l.hostPath(vm, name))
}

func flatName(descriptor string) string {
	return strings.TrimSuffix(descriptor, ".vmdk") + "-flat.vmdk"
}

var deltaSuffix = regexp.MustCompile(`-\d{6}\.vmdk$`)

// childName is the next free name in the way ESXi names deltas:
// disk.vmdk, disk-000001.vmdk, disk-000002.vmdk.
func (l *Lab) childName(vm *simulator.VirtualMachine, name string) string {
	stem := strings.TrimSuffix(deltaSuffix.ReplaceAllString(name, ".vmdk"), ".vmdk")
	for n := 1; ; n++ {
		child := fmt.Sprintf("%s-%06d.vmdk", stem, n)
		if _, err := os.Stat(l.hostPath(vm, child)); os.IsNotExist(err) {
			return child
		}
	}
}

// prepareFiles gives a disk of the model its descriptor and its flat file;
// vcsim leaves the latter empty.
func (l *Lab) prepareFiles(vm *simulator.VirtualMachine, disk *types.VirtualDisk) error {
	name := backingOf(disk).FileName
	if err := extent.Grow(l.flatPath(vm, name), capacityBytes(disk)); err != nil {
		return err
	}
	return l.writeDescriptor(vm, name, capacityBytes(disk), "")
}

const descriptorText = `# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=fffffffe
parentCID=%s
createType="vmfs"
%s
# Extent description
RW %d VMFS %q

# The Disk Data Base
#DDB
ddb.adapterType = "lsilogic"
`

func (l *Lab) writeDescriptor(vm *simulator.VirtualMachine, name string, capacity int64, parent string) error {
	parentID, hint := "ffffffff", ""
	if parent != "" {
		parentID, hint = "fffffffe", fmt.Sprintf("parentFileNameHint=%q\n", filepath.Base(parent))
	}
	path := l.hostPath(vm, name)
	text := fmt.Sprintf(descriptorText, parentID, hint, capacity/sectorSize, filepath.Base(flatName(path)))
	return os.WriteFile(path, []byte(text), 0o600)
}

// newUUID is random, in the form of VMware's disk and change tracking ids:
// "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63".
func newUUID() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw)
	raw[0] = 0x52
	words := make([]string, len(raw))
	for i := range raw {
		words[i] = hex.EncodeToString(raw[i : i+1])
	}
	return strings.Join(words[:8], " ") + "-" + strings.Join(words[8:], " ")
}
