package lab

import (
	"os"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

type layoutFile = types.VirtualMachineFileLayoutExFileInfo

// layoutFiles numbers files the way layoutEx does: a file keeps its key.
type layoutFiles struct {
	files []layoutFile
	keys  map[string]int32
	next  int32
}

// refreshLayout brings layoutEx.file and layoutEx.disk in line with the files
// that are there. Files that are gone leave, the others keep their keys.
func (l *Lab) refreshLayout(vm *simulator.VirtualMachine) {
	if vm.LayoutEx == nil {
		return
	}
	layout := l.existingFiles(vm)
	var disks []types.VirtualMachineFileLayoutExDiskLayout
	for _, disk := range sortedDisks(vm.Config) {
		var chain []types.VirtualMachineFileLayoutExDiskUnit
		for link := backingOf(disk); link != nil; link = link.Parent {
			unit := types.VirtualMachineFileLayoutExDiskUnit{FileKey: []int32{
				layout.add(link.FileName, "diskDescriptor", fileSize(l.hostPath(vm, link.FileName))),
				layout.add(flatName(link.FileName), "diskExtent", fileSize(l.flatPath(vm, link.FileName))),
			}}
			chain = append([]types.VirtualMachineFileLayoutExDiskUnit{unit}, chain...)
		}
		disks = append(disks, types.VirtualMachineFileLayoutExDiskLayout{Key: disk.Key, Chain: chain})
	}
	vm.LayoutEx.Disk, vm.LayoutEx.File = disks, layout.files
}

func (l *Lab) existingFiles(vm *simulator.VirtualMachine) *layoutFiles {
	layout := &layoutFiles{keys: map[string]int32{}}
	for _, file := range vm.LayoutEx.File {
		layout.next = max(layout.next, file.Key+1)
		size := fileSize(l.hostPath(vm, file.Name))
		if size < 0 {
			continue
		}
		file.Size, file.UniqueSize = size, size
		layout.files = append(layout.files, file)
		layout.keys[file.Name] = file.Key
	}
	return layout
}

func (f *layoutFiles) add(name, kind string, size int64) int32 {
	if key, ok := f.keys[name]; ok {
		return key
	}
	key := f.next
	f.next++
	f.keys[name] = key
	f.files = append(f.files, layoutFile{
		Key: key, Name: name, Type: kind, Size: max(size, 0), UniqueSize: max(size, 0), Accessible: types.NewBool(true),
	})
	return key
}

// fileSize is -1 for a file that is not there.
func fileSize(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return st.Size()
}
