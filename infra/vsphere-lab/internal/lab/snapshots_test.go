package lab_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/nfc"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/lab"
)

// backing is what a client sees of the first disk.
func (m *machine) backing() *types.VirtualDiskFlatVer2BackingInfo {
	devices := object.VirtualDeviceList(m.properties("config.hardware.device").Config.Hardware.Device)
	disk := devices.SelectByType((*types.VirtualDisk)(nil))[0]
	return disk.GetVirtualDevice().Backing.(*types.VirtualDiskFlatVer2BackingInfo)
}

func TestASnapshotMovesTheVMToAChildFileAndItsRemovalMovesItBack(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	before := m.backing().FileName
	s := m.snapshot("s")
	during := m.backing()
	if !strings.HasSuffix(during.FileName, "-000001.vmdk") || during.Parent == nil || during.Parent.FileName != before {
		t.Errorf("the VM runs on %s", during.FileName)
	}
	if got := m.snapshotState(s).File; got != before {
		t.Errorf("the snapshot lies in %s", got)
	}
	child := m.state().Disks[0].Flat
	m.remove(s)
	after := m.backing()
	if after.FileName != before || after.Parent != nil {
		t.Errorf("after removal the VM runs on %s", after.FileName)
	}
	if fileExists(child) {
		t.Error("the child file is still there")
	}
	if m.properties("snapshot").Snapshot != nil {
		t.Error("the VM still has a snapshot")
	}
}

// govmomi v0.54 deletes the running VM's disk here, see forgetLayoutKeys.
func TestRemovingTheOldestOfFourSnapshotsKeepsTheRunningDisk(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	m.write(0, "precious")
	var all []types.ManagedObjectReference
	for _, name := range []string{"s1", "s2", "s3", "s4"} {
		all = append(all, m.snapshot(name))
	}
	for i, s := range all {
		m.remove(s)
		flat := m.state().Disks[0].Flat
		if !fileExists(flat) || !fileExists(strings.Replace(flat, "-flat", "", 1)) {
			t.Fatalf("after removing s%d the disk is gone", i+1)
		}
		if got := m.bytes(""); !bytes.HasPrefix(got, []byte("precious")) {
			t.Fatalf("after removing s%d the disk holds %q", i+1, got[:8])
		}
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(m.state().Disks[0].Flat), "*-0000*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRemoveAllSnapshotsLeavesOneFile(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	for _, name := range []string{"s1", "s2", "s3"} {
		m.write(0, name)
		m.snapshot(name)
	}
	m.write(3, "live")
	task, err := m.vm.RemoveAllSnapshot(ctx, types.NewBool(true))
	if err == nil {
		err = task.Wait(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := m.bytes(""); !bytes.HasPrefix(got, []byte("s3live")) && !bytes.HasPrefix(got, []byte("s3\x00live")) {
		t.Errorf("the disk holds %q", got[:8])
	}
	if m.backing().Parent != nil || len(m.state().Snapshots) != 0 {
		t.Error("the chain is still there")
	}
}

func TestRevertBringsBackTheBytesAndKillsChangeIDs(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	m.write(0, "before")
	s := m.snapshot("s")
	id := m.snapshotState(s).ChangeID
	m.write(0, "after!")
	if err := m.server.Revert(s.Value); err != nil {
		t.Fatal(err)
	}
	if got := m.bytes(""); !bytes.HasPrefix(got, []byte("before")) {
		t.Errorf("the disk holds %q", got[:8])
	}
	m.write(0, "branch")
	if got := m.bytes(s.Value); !bytes.HasPrefix(got, []byte("before")) {
		t.Errorf("the snapshot holds %q", got[:8])
	}
	next := m.snapshot("next")
	_, err := m.query(&next, id, 0)
	m.expectFault("id from before the revert", err, "FileFault")
	m.remove(s)
	m.remove(next)
	if got := m.bytes(""); !bytes.HasPrefix(got, []byte("branch")) {
		t.Errorf("in the end the disk holds %q", got[:8])
	}
}

func TestIndependentDisksAreNotPartOfASnapshot(t *testing.T) {
	m := newMachine(t, options{inventory: lab.Inventory{VMs: []lab.VMSpec{{Name: "vm", ChangeTracking: true, Disks: []lab.DiskSpec{
		{SizeBytes: mib}, {SizeBytes: mib, Mode: "independent_persistent"},
	}}}}})
	m.snapshot("s")
	disks := m.state().Disks
	if !strings.Contains(disks[0].File, "-000001") || strings.Contains(disks[1].File, "-000001") {
		t.Errorf("files %s and %s", disks[0].File, disks[1].File)
	}
}

func TestASlowSnapshotIsARunningTaskThatClientsCanFind(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	m.server.SetTaskDelay("CreateSnapshot_Task", 700*time.Millisecond)
	begun := time.Now()
	task, err := m.vm.CreateSnapshot(ctx, "slow", "", false, false)
	if err != nil {
		t.Fatal(err)
	}
	recent := m.properties("recentTask", "name").RecentTask
	if len(recent) == 0 || recent[len(recent)-1] != task.Reference() {
		t.Errorf("the VM's recent tasks are %v", recent)
	}
	info := m.taskInfo(task.Reference())
	if time.Since(begun) > 600*time.Millisecond {
		t.Fatal("reading the VM waited for the task")
	}
	if info.State != types.TaskInfoStateRunning || info.DescriptionId != "VirtualMachine.createSnapshot" ||
		info.Name != "CreateSnapshot_Task" || *info.Entity != m.vm.Reference() || info.EntityName != "vm" {
		t.Errorf("the task says %+v", info)
	}
	m.write(0, "written while the task runs")
	result, err := task.WaitForResult(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if time.Since(begun) < 700*time.Millisecond {
		t.Error("the task was not delayed")
	}
	ref := result.Result.(types.ManagedObjectReference)
	if !bytes.HasPrefix(m.bytes(ref.Value), []byte("written while")) {
		t.Error("the snapshot was taken before the delay was over")
	}
}

func TestWritesDuringConsolidationCanBeLost(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	first := m.snapshot("first")
	id := m.snapshotState(first).ChangeID
	m.server.SetLie(lab.Lie{DuringConsolidation: true})
	m.server.SetTaskDelay("RemoveSnapshot_Task", 500*time.Millisecond)
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.remove(first)
	}()
	time.Sleep(200 * time.Millisecond)
	m.write(0, "lost")
	<-done
	m.write(512*kib, "kept")
	m.expectAreas("since first", m.areas(m.snapshot("second"), id), [2]int64{512 * kib, block})
}

func (m *machine) taskInfo(ref types.ManagedObjectReference) types.TaskInfo {
	m.t.Helper()
	var task struct{ Info types.TaskInfo }
	answer, err := methods.RetrievePropertiesEx(ctx, m.client, &types.RetrievePropertiesEx{
		This: m.client.ServiceContent.PropertyCollector,
		SpecSet: []types.PropertyFilterSpec{{
			PropSet:   []types.PropertySpec{{Type: "Task", PathSet: []string{"info"}}},
			ObjectSet: []types.ObjectSpec{{Obj: ref}},
		}},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	task.Info = answer.Returnval.Objects[0].PropSet[0].Val.(types.TaskInfo)
	return task.Info
}

func TestALeaseHandsOutTheBytesOfTheSnapshot(t *testing.T) {
	m := newMachine(t, oneDisk(4*mib))
	m.write(mib, "exported")
	s := m.snapshot("s")
	m.write(mib, "changed!")
	answer, err := methods.ExportSnapshot(ctx, m.client, &types.ExportSnapshot{This: s})
	if err != nil {
		t.Fatal(err)
	}
	lease := nfc.NewLease(m.client.Client, answer.Returnval)
	info, err := lease.Wait(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	updater := lease.StartUpdater(ctx, info) // Without it govmomi's download waits for ever.
	defer updater.Done()
	target := filepath.Join(t.TempDir(), "disk.vmdk")
	if err := lease.DownloadFile(ctx, target, info.Items[0], soap.DefaultDownload); err != nil {
		t.Fatal(err)
	}
	if err := lease.Complete(ctx); err != nil {
		t.Fatal(err)
	}
	raw := target + ".raw"
	if out, err := exec.Command("qemu-img", "convert", "-f", "vmdk", "-O", "raw", target, raw).CombinedOutput(); err != nil {
		t.Fatalf("%s: %s", err, out)
	}
	got, _ := os.ReadFile(raw)
	if !bytes.Equal(got, m.bytes(s.Value)) {
		t.Error("the exported bytes differ")
	}
}

func TestFolderDownloadsNeedALoginAndServeRanges(t *testing.T) {
	m := newMachine(t, oneDisk(4*mib))
	m.write(mib, "0123456789")
	var path object.DatastorePath
	path.FromString(m.state().Disks[0].File)
	folder, _ := url.Parse(m.server.URL)
	folder.Path = "/folder/" + strings.Replace(path.Path, ".vmdk", "-flat.vmdk", 1)
	folder.RawQuery = url.Values{"dcPath": {"DC0"}, "dsName": {path.Datastore}}.Encode()
	get := func(login bool) *http.Response {
		request, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, folder.String(), nil)
		request.Header.Set("Range", "bytes=1048578-1048580")
		if login {
			request.SetBasicAuth("user@lab", "s3cret&")
		}
		answer, err := (&http.Client{Transport: m.client.DefaultTransport()}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	if status := get(false).StatusCode; status != http.StatusUnauthorized {
		t.Errorf("without login: %d", status)
	}
	answer := get(true)
	body, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusPartialContent || string(body) != "234" {
		t.Errorf("got %d %q", answer.StatusCode, body)
	}
}
