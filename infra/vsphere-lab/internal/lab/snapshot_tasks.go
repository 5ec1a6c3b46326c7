package lab

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// DropSnapshot removes one snapshot as a user would.
func (l *Lab) DropSnapshot(snapshot string) error { return l.onSnapshot(snapshot, removeSnapshot) }

// Revert puts a VM back to one of its snapshots.
func (l *Lab) Revert(snapshot string) error { return l.onSnapshot(snapshot, revertToSnapshot) }

type snapshotTask func(context.Context, *vim25.Client, types.ManagedObjectReference) (*object.Task, error)

// onSnapshot starts a task on a snapshot through the side door and waits for
// its end.
func (l *Lab) onSnapshot(snapshot string, start snapshotTask) error {
	ref := types.ManagedObjectReference{Type: "VirtualMachineSnapshot", Value: snapshot}
	if _, ok := l.registry.Get(ref).(*simulator.VirtualMachineSnapshot); !ok {
		return fmt.Errorf("snapshot %q: %w", snapshot, ErrNotFound)
	}
	ctx, client, err := l.client()
	if err != nil {
		return err
	}
	task, err := start(ctx, client, ref)
	if err != nil {
		return err
	}
	return task.Wait(ctx)
}

func removeSnapshot(ctx context.Context, c *vim25.Client, ref types.ManagedObjectReference) (*object.Task, error) {
	answer, err := methods.RemoveSnapshot_Task(ctx, c, &types.RemoveSnapshot_Task{This: ref, Consolidate: types.NewBool(true)})
	if err != nil {
		return nil, err
	}
	return object.NewTask(c, answer.Returnval), nil
}

func revertToSnapshot(ctx context.Context, c *vim25.Client, ref types.ManagedObjectReference) (*object.Task, error) {
	answer, err := methods.RevertToSnapshot_Task(ctx, c, &types.RevertToSnapshot_Task{This: ref})
	if err != nil {
		return nil, err
	}
	return object.NewTask(c, answer.Returnval), nil
}
