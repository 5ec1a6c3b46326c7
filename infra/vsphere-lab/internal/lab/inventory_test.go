package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/lab"
)

func TestNamesMayBeStrangeAndOccurTwice(t *testing.T) {
	names := []string{"web [prod]", "Bücher 数据", "a/b", "plain"}
	var inventory lab.Inventory
	for _, name := range names {
		for _, folder := range []string{"", "team/one", "team/two"} {
			inventory.VMs = append(inventory.VMs, lab.VMSpec{
				Name: name, Folder: folder, PowerState: "off", Disks: []lab.DiskSpec{{SizeBytes: mib}},
			})
		}
	}
	r := newRig(t, options{inventory: inventory})
	paths, flats := map[string]bool{}, map[string]bool{}
	for _, vm := range r.server.State() {
		paths[vm.Path], flats[vm.Disks[0].Flat] = true, true
		if !fileExists(vm.Disks[0].Flat) {
			t.Errorf("%s has no disk file", vm.Path)
		}
	}
	if len(paths) != 12 || len(flats) != 12 {
		t.Errorf("%d paths, %d files", len(paths), len(flats))
	}
	for _, want := range []string{"/DC0/vm/web [prod]", "/DC0/vm/team/one/Bücher 数据", "/DC0/vm/team/two/plain", "/DC0/vm/a%2fb"} {
		if !paths[want] {
			t.Errorf("no %s in %v", want, paths)
		}
	}
}

func TestDevicesHaveTheKeysThatVCenterGives(t *testing.T) {
	one := int32(1)
	disks := []lab.DiskSpec{{Controller: 1, SizeBytes: mib}, {Controller: 2, SizeBytes: mib, Unit: &one}, {Controller: 3, SizeBytes: mib}}
	for range 12 {
		disks = append(disks, lab.DiskSpec{SizeBytes: mib})
	}
	r := newRig(t, options{inventory: lab.Inventory{VMs: []lab.VMSpec{{
		Name: "many", Firmware: "efi", Controllers: []string{"pvscsi", "lsilogic", "nvme", "sata"}, Disks: disks,
		NICs: []lab.NICSpec{{MAC: "00:50:56:aa:bb:cc"}, {Network: "DC0_DVPG0", Type: "e1000e"}},
	}}}})
	state := r.server.State()[0]
	keys := map[int32]bool{}
	for _, disk := range state.Disks {
		keys[disk.Key] = true
		if disk.UnitNumber == 7 && disk.ControllerKey < 2000 {
			t.Errorf("disk %d sits on the controller's own unit", disk.Key)
		}
	}
	for _, want := range []int32{2000, 2006, 2008, 2012, 2016, 32001, 16000} {
		if !keys[want] {
			t.Errorf("no disk %d in %v", want, keys)
		}
	}
	m := &machine{r, nil, 0}
	m.vm = r.machineCalled("many")
	config := m.properties("config").Config
	if config.Firmware != "efi" {
		t.Errorf("firmware %s", config.Firmware)
	}
	var macs []string
	for _, device := range config.Hardware.Device {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			macs = append(macs, card.GetVirtualEthernetCard().MacAddress)
		}
	}
	if len(macs) != 2 || macs[0] != "00:50:56:aa:bb:cc" {
		t.Errorf("network cards %v", macs)
	}
}

func TestADiskStartsWithTheContentOfItsImage(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image.raw")
	if err := os.WriteFile(image, []byte("filesystem"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := oneDisk(mib)
	o.inventory.VMs[0].Disks[0].Image = image
	m := newMachine(t, o)
	got := m.bytes("")
	if len(got) != mib || !strings.HasPrefix(string(got), "filesystem\x00") {
		t.Errorf("%d bytes, %q", len(got), got[:12])
	}
}

func TestTemplatesAndPowerStates(t *testing.T) {
	disks := []lab.DiskSpec{{SizeBytes: mib}}
	r := newRig(t, options{inventory: lab.Inventory{VMs: []lab.VMSpec{
		{Name: "a-template", Template: true, Disks: disks}, {Name: "b-on", Disks: disks},
		{Name: "c-off", PowerState: "off", Disks: disks},
	}}})
	states := r.server.State()
	if !states[0].Template || states[1].PowerState != "poweredOn" || states[2].PowerState != "poweredOff" {
		t.Errorf("%+v", states)
	}
	if err := r.server.Power(states[1].Ref, false); err != nil {
		t.Error(err)
	}
	if got := r.server.State()[1].PowerState; got != "poweredOff" {
		t.Errorf("power state %s", got)
	}
}

func TestDisksComeAndGo(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	ref := m.vm.Reference().Value
	key, err := m.server.AddDisk(ref, lab.DiskSpec{SizeBytes: 2 * mib})
	if err != nil || key != 2001 {
		t.Fatalf("key %d, %v", key, err)
	}
	added := m.state().Disks[1]
	if added.CapacityBytes != 2*mib || !fileExists(added.Flat) {
		t.Errorf("%+v", added)
	}
	m.key = key
	id := m.snapshotOfDisk(1)
	m.remove(types.ManagedObjectReference{Type: "VirtualMachineSnapshot", Value: m.state().Snapshots[0].Ref})
	if err := m.server.RemoveDisk(lab.DiskRef{VM: ref, Key: key}); err != nil {
		t.Fatal(err)
	}
	if len(m.state().Disks) != 1 || fileExists(added.Flat) {
		t.Error("the disk is still there")
	}
	again, err := m.server.AddDisk(ref, lab.DiskSpec{SizeBytes: 2 * mib})
	if err != nil || again != key {
		t.Fatalf("key %d, %v", again, err)
	}
	if m.state().Disks[1].UUID == added.UUID {
		t.Error("a new disk has the UUID of the removed one")
	}
	s := m.snapshot("after")
	_, err = m.query(&s, id, 0)
	m.expectFault("change id of the removed disk", err, "FileFault")
}

func (m *machine) snapshotOfDisk(index int) (changeID string) {
	ref := m.snapshot("before")
	for _, s := range m.state().Snapshots {
		if s.Ref == ref.Value {
			changeID = s.Disks[index].ChangeID
		}
	}
	return changeID
}

func TestAnInventoryThatMakesNoSenseIsRefused(t *testing.T) {
	seven := int32(7)
	r := newRig(t, options{})
	for what, spec := range map[string]lab.VMSpec{
		"controller kind":  {Name: "x", Controllers: []string{"floppy"}},
		"controller index": {Name: "x", Disks: []lab.DiskSpec{{SizeBytes: mib, Controller: 3}}},
		"reserved unit":    {Name: "x", Disks: []lab.DiskSpec{{SizeBytes: mib, Unit: &seven}}},
		"network":          {Name: "x", NICs: []lab.NICSpec{{Network: "nowhere"}}},
	} {
		if _, err := r.server.Create(&lab.Inventory{VMs: []lab.VMSpec{spec}}); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	path := filepath.Join(t.TempDir(), "inventory.json")
	if err := os.WriteFile(path, []byte(`{"vms":[{"nmae":"typo"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.ReadInventory(path); err == nil || !strings.Contains(err.Error(), "nmae") {
		t.Errorf("a misspelt field: %v", err)
	}
}
