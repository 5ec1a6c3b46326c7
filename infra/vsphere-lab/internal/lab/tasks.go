package lab

import (
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// taskNames gives the simulator's tasks the names and description ids that
// vCenter uses, so that a client finds a running CreateSnapshot in the list.
var taskNames = map[string]struct{ method, description string }{
	"CreateSnapshotEx":   {"CreateSnapshot_Task", "VirtualMachine.createSnapshot"},
	"RemoveSnapshot":     {"RemoveSnapshot_Task", "vm.Snapshot.remove"},
	"RemoveAllSnapshots": {"RemoveAllSnapshots_Task", "VirtualMachine.removeAllSnapshots"},
	"RevertToSnapshot":   {"RevertToSnapshot_Task", "vm.Snapshot.revert"},
	"ReconfigVm":         {"ReconfigVM_Task", "VirtualMachine.reconfigure"},
	"PowerOn":            {"PowerOnVM_Task", "VirtualMachine.powerOn"},
	"PowerOff":           {"PowerOffVM_Task", "VirtualMachine.powerOff"},
}

// taskControl knows which tasks shall take their time.
type taskControl struct {
	mu     sync.Mutex
	delays map[string]time.Duration
	gated  map[string]*gate
}

// gate is a delayed task on its way from Run to its goroutine.
type gate struct {
	entity types.ManagedObjectReference
	ctx    *simulator.Context
}

func newTaskControl() *taskControl {
	return &taskControl{delays: map[string]time.Duration{}, gated: map[string]*gate{}}
}

// SetTaskDelay makes the tasks of a method ("CreateSnapshot_Task") stay in
// state running for a while before they do anything; 0 ends it. The VM can be
// read and used meanwhile, as with vCenter.
func (l *Lab) SetTaskDelay(method string, delay time.Duration) {
	l.tasks.mu.Lock()
	defer l.tasks.mu.Unlock()
	l.tasks.delays[method] = delay
}

func (c *taskControl) delay(method string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.delays[method]
}

// onTask sees each task before it runs and wraps what it will execute.
func (l *Lab) onTask(task *simulator.Task) {
	if names, ok := taskNames[task.Info.Name]; ok {
		task.Info.Name, task.Info.DescriptionId = names.method, names.description
	}
	vm, ok := l.registry.Get(*task.Info.Entity).(*simulator.VirtualMachine)
	if !ok || task.Execute == nil {
		return
	}
	task.Info.EntityName = vm.Name
	method, run := task.Info.Name, task.Execute
	task.Execute = func(t *simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if strings.HasPrefix(method, "Remove") {
			defer l.countRemoval(vm.Self.Value)()
		}
		return l.tasks.passGate(l, t, method, func() (types.AnyType, types.BaseMethodFault) {
			if r := l.faults.find(method, vm.Self.Value, true); r != nil {
				fault, _ := r.rule.newFault(vm.Self)
				return nil, fault
			}
			return run(t)
		})
	}
}

// onTaskChange diverts a task that is to be delayed. The simulator locks the
// task's entity for as long as the task runs, which would stop all reading of
// the VM; for the moment in which it takes that lock, the task names itself as
// its entity.
func (l *Lab) onTaskChange(ctx *simulator.Context, task *mo.Task, changes []types.PropertyChange) {
	for _, change := range changes {
		if change.Name == "info.error" && task.Info.Error != nil {
			nameFault(task.Info.Error)
		}
		if change.Name != "info.state" || task.Info.State != types.TaskInfoStateRunning {
			continue
		}
		if task.Info.Entity == nil || l.tasks.delay(task.Info.Name) == 0 {
			continue
		}
		l.tasks.mu.Lock()
		l.tasks.gated[task.Self.Value] = &gate{*task.Info.Entity, ctx}
		l.tasks.mu.Unlock()
		own := types.ManagedObjectReference{Type: "LabGate", Value: task.Self.Value}
		task.Info.Entity = &own
	}
}

// passGate waits if the task was diverted, then runs it under the lock of its
// real entity.
func (c *taskControl) passGate(l *Lab, task *simulator.Task, method string, run func() (types.AnyType, types.BaseMethodFault)) (result types.AnyType, fault types.BaseMethodFault) {
	c.mu.Lock()
	diverted := c.gated[task.Self.Value]
	delete(c.gated, task.Self.Value)
	c.mu.Unlock()
	if diverted == nil {
		return run()
	}
	l.registry.WithLock(l.lockContext(), task, func() { task.Info.Entity = &diverted.entity })
	time.Sleep(c.delay(method))
	diverted.ctx.WithLock(diverted.entity, func() { result, fault = run() })
	return result, fault
}

// countRemoval notes that a snapshot of the VM is being removed until the
// returned function is called.
func (l *Lab) countRemoval(vm string) (done func()) {
	add := func(n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.removing[vm] += n
	}
	add(1)
	return func() { add(-1) }
}

// nameFault replaces the Go type name that the simulator puts where people
// expect a sentence.
func nameFault(err *types.LocalizedMethodFault) {
	if name, ok := strings.CutPrefix(err.LocalizedMessage, "*types."); ok {
		err.LocalizedMessage = FaultRule{Fault: name}.message()
	}
}
