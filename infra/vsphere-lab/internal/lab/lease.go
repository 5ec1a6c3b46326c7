package lab

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const leaseTimeout = 300 * time.Second

// leases are the exports in progress, by managed object id. Downloads carry no
// session, the id in the URL is the permission, as with a real host.
var leases sync.Map

// HttpNfcLease hands out real streamOptimized VMDKs, where the simulator hands
// out the descriptor's text. The Go name is the managed object's type name.
type HttpNfcLease struct {
	mo.HttpNfcLease
	dir   string
	files map[string]string
	timer *time.Timer
}

// ExportVm leases the disks of a VM that is off.
func (x *extension) ExportVm(ctx *simulator.Context, req *types.ExportVm) soap.HasFault {
	body := &methods.ExportVmBody{}
	vm, ok := x.lab.registry.Get(req.This).(*simulator.VirtualMachine)
	if !ok {
		body.Fault_ = simulator.Fault("", &types.ManagedObjectNotFound{Obj: req.This})
		return body
	}
	if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff {
		body.Fault_ = simulator.Fault("", &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: vm.Runtime.PowerState,
		})
		return body
	}
	body.Res = &types.ExportVmResponse{Returnval: x.lab.lease(ctx, vm, vm.Config)}
	return body
}

// ExportSnapshot leases the disks of a snapshot.
func (x *extension) ExportSnapshot(ctx *simulator.Context, req *types.ExportSnapshot) soap.HasFault {
	body := &methods.ExportSnapshotBody{}
	snapshot, ok := x.lab.registry.Get(req.This).(*simulator.VirtualMachineSnapshot)
	vm := x.lab.vmBehind(req.This)
	if !ok || vm == nil {
		body.Fault_ = simulator.Fault("", &types.ManagedObjectNotFound{Obj: req.This})
		return body
	}
	body.Res = &types.ExportSnapshotResponse{Returnval: x.lab.lease(ctx, vm, &snapshot.Config)}
	return body
}

func (l *Lab) lease(ctx *simulator.Context, vm *simulator.VirtualMachine, config *types.VirtualMachineConfigInfo) types.ManagedObjectReference {
	lease := &HttpNfcLease{files: map[string]string{}, dir: l.dir}
	lease.State, lease.InitializeProgress = types.HttpNfcLeaseStateReady, 100
	ctx.Session.Put(lease)
	lease.Info = &types.HttpNfcLeaseInfo{Lease: lease.Self, Entity: vm.Self, LeaseTimeout: int32(leaseTimeout.Seconds())}
	for n, disk := range sortedDisks(config) {
		name := fmt.Sprintf("disk-%d.vmdk", n)
		lease.files[name] = l.flatPath(vm, backingOf(disk).FileName)
		lease.Info.TotalDiskCapacityInKB += capacityBytes(disk) / 1024
		lease.Info.DeviceUrl = append(lease.Info.DeviceUrl, types.HttpNfcLeaseDeviceUrl{
			Key: fmt.Sprintf("/%s/%d", vm.Self.Value, disk.Key), Url: l.leaseURL(lease, name),
			Disk: types.NewBool(true), TargetId: name,
		})
	}
	lease.timer = time.AfterFunc(leaseTimeout, func() { leases.Delete(lease.Self.Value) })
	leases.Store(lease.Self.Value, lease)
	return lease.Self
}

func (l *Lab) leaseURL(lease *HttpNfcLease, name string) string {
	return (&url.URL{
		Scheme: "https", Host: l.service.Listen.Host, Path: "/nfc/" + path.Join(lease.Self.Value, name),
	}).String()
}

func (n *HttpNfcLease) end(ctx *simulator.Context) {
	n.timer.Stop()
	leases.Delete(n.Self.Value)
	ctx.Session.Remove(ctx, n.Self)
}

// HttpNfcLeaseComplete ends the lease.
func (n *HttpNfcLease) HttpNfcLeaseComplete(ctx *simulator.Context, _ *types.HttpNfcLeaseComplete) soap.HasFault {
	n.end(ctx)
	return &methods.HttpNfcLeaseCompleteBody{Res: new(types.HttpNfcLeaseCompleteResponse)}
}

// HttpNfcLeaseAbort ends the lease.
func (n *HttpNfcLease) HttpNfcLeaseAbort(ctx *simulator.Context, _ *types.HttpNfcLeaseAbort) soap.HasFault {
	n.end(ctx)
	return &methods.HttpNfcLeaseAbortBody{Res: new(types.HttpNfcLeaseAbortResponse)}
}

// HttpNfcLeaseProgress keeps the lease alive.
func (n *HttpNfcLease) HttpNfcLeaseProgress(_ *simulator.Context, req *types.HttpNfcLeaseProgress) soap.HasFault {
	n.timer.Reset(leaseTimeout)
	n.TransferProgress = req.Percent
	return &methods.HttpNfcLeaseProgressBody{Res: new(types.HttpNfcLeaseProgressResponse)}
}

// serveLease streams a disk without Content-Length and without ranges, as a
// host does.
func serveLease(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	known, ok := leases.Load(parts[len(parts)-2])
	if !ok {
		simulator.ServeNFC(w, r) // A lease of ImportVApp, or 404.
		return
	}
	lease, _ := known.(*HttpNfcLease)
	source, ok := lease.files[parts[len(parts)-1]]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if err := streamOptimized(w, source, lease.dir); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// streamOptimized goes through qemu-img: the writer in govmomi v0.54 makes
// files that other tools cannot read.
func streamOptimized(w http.ResponseWriter, source, dir string) error {
	scratch, err := os.MkdirTemp(dir, "export-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	target := filepath.Join(scratch, "disk.vmdk")
	convert := exec.Command("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", source, target)
	if out, err := convert.CombinedOutput(); err != nil {
		return fmt.Errorf("qemu-img: %w: %s", err, out)
	}
	file, err := os.Open(target)
	if err != nil {
		return err
	}
	defer file.Close()
	w.Header().Set("Content-Type", "application/x-vnd.vmware-streamVmdk")
	_ = http.NewResponseController(w).Flush() // Forces chunked encoding.
	_, _ = io.Copy(w, file)
	return nil
}
